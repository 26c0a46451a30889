"""What the tests of the page share: a headless Chromium, a server (FATHOM_PAGE names one that runs, else
tools/page_mock.py is started), and cases that print cmocka-like lines for tools/run_tests.sh."""

import json
import os
import shutil
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROOT = Path(__file__).resolve().parents[2]
# Runs before each document: collects what the content security policy refused, and what scripts of others did.
WATCH = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (e) => window.refused.push(e.violatedDirective + " " + e.blockedURI));
window.addEventListener("error", (e) => window.refused.push("error " + e.message));
window.addEventListener("unhandledrejection", (e) => window.refused.push("rejection " + e.reason));
"""
CASES = []


def case(function):
    CASES.append(function)
    return function


def mock_case(function):
    """One that needs answers which tools/page_mock.py can be told to give."""
    function.mock = True
    return case(function)


class Skipped(Exception):
    pass


class Server:
    def __init__(self, *options):
        self.process = None
        self.base = os.environ.get("FATHOM_PAGE", "").rstrip("/")
        self.mock = not self.base
        if self.mock:
            command = [sys.executable, str(ROOT / "tools/page_mock.py"), "--port", "0", *options]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self.base = self.process.stdout.readline().strip().rstrip("/")

    def api(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json", "Origin": self.base})
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read()
            return json.loads(text) if text else None

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


class Browser:
    def __init__(self, server, width=1280, height=860):
        options = webdriver.ChromeOptions()
        for name in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "lang=en-US"):
            options.add_argument("--" + name)
        options.add_argument(f"--window-size={width},{height}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        self.server = server
        self.driver.set_script_timeout(60)

    def open(self, hash_path="#/"):
        self.driver.get("about:blank")
        self.driver.get(f"{self.server.base}/{hash_path}")
        self.wait(lambda: self.all(".app, .signin"), "the page to be drawn")
        self.wait(lambda: self.all(".composer, .sheet, .signin"), "a view")

    def js(self, script, *values):
        return self.driver.execute_script(script, *values)

    # A body of an async function that may import the page's modules; its result.
    def module(self, script, *values):
        reply = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1]; const values = [...arguments].slice(0, -1);"
            "(async (values) => {" + script + "})(values).then((value) => done({ value }),"
            "(error) => done({ error: String(error.stack) }));", *values)
        if "error" in reply:
            raise AssertionError(reply["error"])
        return reply.get("value")

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.wait(lambda: next((e for e in self.all(selector) if e.is_displayed()), None), selector)

    def click(self, selector):
        self.one(selector).click()

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def wait(self, condition, what, seconds=15):
        end = time.time() + seconds
        while time.time() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.03)
        raise AssertionError(f"waited {seconds} s for {what}")

    def keys(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def chord(self, *keys):
        actions = webdriver.ActionChains(self.driver)
        for key in keys[:-1]:
            actions.key_down(key)
        actions.send_keys(keys[-1])
        for key in reversed(keys[:-1]):
            actions.key_up(key)
        actions.perform()

    # Sends a turn; returns once its answer begins.
    def send(self, text):
        before = len(self.all(".from-model"))
        field = self.one("#composer")
        field.send_keys(text)
        field.send_keys(Keys.ENTER)
        self.wait(lambda: len(self.all(".from-model")) > before, "an answer to begin")

    def answered(self, seconds=60):
        self.wait(lambda: not self.all(".send.is-stop") and self.all(".from-model [data-action=copy]"),
                  "the answer to end", seconds)

    def chat(self):
        path = self.js("return location.hash").split("/")
        return path[2] if len(path) > 2 and path[1] == "chat" else None

    def emulate(self, **media):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]})

    def size(self, width, height, mobile=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile})

    def refused(self):
        return self.js("return window.refused")


def run(server, width=1280, height=860):
    """Runs every case in a browser of its own state; 0 when none failed."""
    failed = 0
    only = sys.argv[1:]
    browser = None
    try:
        browser = Browser(server, width, height)
        browser.open()
        for function in CASES:
            name = function.__name__
            if (only and name not in only) or (hasattr(function, "mock") and not server.mock):
                continue
            try:
                function(browser)
                print(f"[       OK ] {name}", flush=True)
            except Skipped as why:
                print(f"[  SKIPPED ] {name}: {why}", flush=True)
            except Exception:
                failed = 1
                traceback.print_exc(file=sys.stdout)
                for line in browser.driver.get_log("browser"):
                    print(line["level"], line["message"][:300])
                if os.environ.get("FATHOM_SHOTS"):
                    browser.driver.save_screenshot(f"{os.environ['FATHOM_SHOTS']}/{name}.png")
                print(f"[  FAILED  ] {name}\n[  FAILED  ] {name}", flush=True)
    finally:
        if browser:
            browser.driver.quit()
        server.close()
    return failed
