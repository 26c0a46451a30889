#!/usr/bin/env python3
"""Conversations for the last two stages of fathom-nano, as .jsonl that `fathom data --chat` reads.

    python3 tools/conversations.py --texts DIR --out DIR [--exercises N] [--smalltalk N] [--practice N] [--seed S]

--texts holds the public texts that recipes/README.md names: dialogues.txt.zst, factbook.txt.zst, wiki.txt.zst,
books.txt.zst, chatterbot.jsonl. Writes talk.jsonl (dialogues, questions and answers), smalltalk.jsonl (of several
turns, made by smalltalk.py), facts.jsonl (questions about countries), writing.jsonl (paragraphs about something, stories
and how they go on) and exercises.jsonl (arithmetic, letters, dates, word problems, made here); and sums.tasks.jsonl,
words.tasks.jsonl, dates.tasks.jsonl, problems.tasks.jsonl: such exercises as questions for `fathom eval --task` and a
recipe's [tasks], none of which is among the exercises to learn from, where there are others. The same seed gives the
same files.
"""
import argparse
import json
import pathlib
import random
import re
import subprocess

import smalltalk

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = ("January February March April May June July August September October November December").split()
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
NAMES = ("Anna Ben Clara David Emma Frank Grace Henry Ida Jack Kate Leo Mary Nora Oscar Paul Rose Sam Tom Vera "
         "Will Zoe Lucy Peter Jane").split()
THINGS = ("apples pears books coins stamps eggs pencils flowers cups shells cakes oranges marbles cards letters "
          "candles buttons stones tickets plums").split()
WORDS = ("apple river house garden winter summer window teacher doctor letter bridge castle mother father sister "
         "brother horse table chair flower paper school music water light night morning evening street market king "
         "queen island forest mountain ocean ship train road stone silver golden green yellow white black story "
         "picture pocket button bottle basket candle kitchen dinner bread butter cheese sugar honey orange lemon "
         "cherry potato tomato rabbit monkey tiger lion eagle chicken spider finger shoulder heart friend family "
         "village city country farmer soldier captain sailor writer painter singer dancer player hammer ladder "
         "engine pencil ruler number minute second hour week month year spring autumn weather thunder rainbow cloud "
         "planet rocket secret answer question lesson reason season person people animal dragon giant magic dream "
         "shadow mirror blanket pillow jacket trousers shirt shoes hat gloves scarf umbrella").split()

PLACES = "kitchen garden house school street market library church car shop park forest tower office stable".split()
KIN = "brother sister friend cousin neighbour teacher aunt uncle son daughter".split()


def turn(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


# ---- Exercises: each maker takes a random generator and gives (question, answer). ----

def sum_question(r, digits, kinds):
    """(question, a, sign, b, result); digits and kinds are lists to choose from."""
    digits = r.choice(digits)
    a, b = r.randrange(0, 10 ** digits), r.randrange(0, 10 ** r.choice([1, digits]))
    kind = r.choice(kinds)
    if kind == "add":
        q = r.choice(["What is {a} + {b}?", "What is {a} plus {b}?", "Add {a} and {b}.", "{a} + {b} = ?",
                      "How much is {a} and {b} together?"])
        return q.format(a=a, b=b), a, "+", b, a + b
    if kind == "subtract":
        a, b = max(a, b), min(a, b)
        q = r.choice(["What is {a} - {b}?", "What is {a} minus {b}?", "Subtract {b} from {a}.", "{a} - {b} = ?"])
        return q.format(a=a, b=b), a, "-", b, a - b
    if kind == "multiply":
        a, b = r.randrange(0, 13), r.randrange(0, 13)
        q = r.choice(["What is {a} x {b}?", "What is {a} times {b}?", "Multiply {a} by {b}.", "{a} * {b} = ?"])
        return q.format(a=a, b=b), a, "x", b, a * b
    b, c = r.randrange(1, 13), r.randrange(0, 13)
    q = r.choice(["What is {a} divided by {b}?", "Divide {a} by {b}.", "{a} / {b} = ?"])
    return q.format(a=b * c, b=b), b * c, "/", b, c


def ask_sum(r):
    question, a, sign, b, c = sum_question(r, [1, 1, 1, 2, 2, 3], ["add", "add", "subtract", "multiply", "divide"])
    return question, r.choice([f"{a} {sign} {b} = {c}.", f"The answer is {c}."])


def ask_worked(r):
    """A sum with the way to its answer: one digit of the second number after the other, the large ones first."""
    kinds = ["add", "add", "subtract", "subtract", "multiply", "divide"]
    question, a, sign, b, c = sum_question(r, [1, 1, 1, 2, 2, 2, 3], kinds)
    parts = [b // place % 10 * place for place in (100, 10, 1)]
    if sign in "x/" or sum(part > 0 for part in parts) < 2:
        return question, f"{a} {sign} {b} = {c}."
    steps = []
    for part in filter(None, parts):
        then = a + part if sign == "+" else a - part
        steps.append(f"{a} {sign} {part} = {then}")
        a = then
    return question, ", ".join(steps) + "."


def ask_compare(r):
    a, b = r.sample(range(0, 1000), 2)
    more = r.random() < 0.5
    q = f"Which number is {'larger' if more else 'smaller'}, {a} or {b}?"
    return q, f"{max(a, b) if more else min(a, b)} is {'larger' if more else 'smaller'} than " \
              f"{min(a, b) if more else max(a, b)}."


def ask_sequence(r):
    start, step = r.randrange(0, 50), r.randrange(1, 11)
    row = [start + step * i for i in range(4)]
    return (f"What comes next: {', '.join(map(str, row))}?",
            f"Each number is {step} more than the one before, so {start + 4 * step} comes next.")


def ask_letters(r):
    w = r.choice(WORDS)
    kind = r.randrange(7)
    if kind == 0:
        return r.choice(["Spell the word {w}.", "How do you spell {w}?"]).format(w=w), "-".join(w) + "."
    if kind == 1:
        return f"How many letters are in the word {w}?", f"{'-'.join(w)}: that is {len(w)} letters."
    if kind == 2:
        return f"What is the first letter of {w}?", f"The first letter of {w} is {w[0]}."
    if kind == 3:
        return f"What is the last letter of {w}?", f"The last letter of {w} is {w[-1]}."
    if kind == 4:
        return f"Write the word {w} backwards.", f"{'-'.join(w)} backwards is {w[::-1]}."
    if kind == 5:
        c = r.choice(w)
        return (f"How many times is the letter {c} in {w}?",
                f"{'-'.join(w)}: {w.count(c)} {'time' if w.count(c) == 1 else 'times'}.")
    i = r.randrange(0, 25)
    a, b = chr(97 + i), chr(98 + i)
    if r.random() < 0.5:
        return f"Which letter comes after {a} in the alphabet?", f"After {a} comes {b}."
    return f"Which letter comes before {b} in the alphabet?", f"Before {b} comes {a}."


def ask_copy(r):
    # What is asked for stands in the question: to be read, not to be known.
    x, y = smalltalk.somebody(r), smalltalk.somebody(r)
    some = r.sample(WORDS, 3)
    kind = r.randrange(5)
    if kind == 0:
        return r.choice([f"Say the word {x}.", f"Please say {x}.", f"Repeat after me: {x}."]), f"{x}."
    if kind == 1:
        return f"Repeat these words: {', '.join(some)}.", ", ".join(some) + "."
    if kind == 2:
        i = r.randrange(3)
        return (f"Which is the {['first', 'second', 'last'][i]} of these words: {', '.join(some)}?",
                f"The {['first', 'second', 'last'][i]} word is {some[i]}.")
    if kind == 3:
        place = r.sample(PLACES, 2)
        where = r.random() < 0.5
        return (f"{x} is in the {place[0]} and {y} is in the {place[1]}. " +
                (f"Where is {x}?" if where else f"Who is in the {place[1]}?"),
                f"{x} is in the {place[0]}." if where else f"{y} is in the {place[1]}.")
    return f"My {r.choice(KIN)} is called {x}. Greet {x}.", f"Hello, {x}!"


def ask_order(r):
    w = r.sample(WORDS, 3)
    return f"Put these words in alphabetical order: {', '.join(w)}.", ", ".join(sorted(w)) + "."


def ask_date(r):
    kind = r.randrange(6)
    i = r.randrange(7)
    if kind == 0:
        return f"Which day comes after {DAYS[i]}?", f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}."
    if kind == 1:
        return f"Which day comes before {DAYS[i]}?", f"{DAYS[i - 1]} comes before {DAYS[i]}."
    if kind == 2:
        n = r.randrange(2, 10)
        return (f"Today is {DAYS[i]}. Which day is it in {n} days?",
                f"{n} days after {DAYS[i]} it is {DAYS[(i + n) % 7]}.")
    m = r.randrange(12)
    if kind == 3:
        return f"Which month comes after {MONTHS[m]}?", f"{MONTHS[(m + 1) % 12]} comes after {MONTHS[m]}."
    if kind == 4:
        days = "28 days, and 29 in leap years" if m == 1 else f"{MONTH_DAYS[m]} days"
        return f"How many days does {MONTHS[m]} have?", f"{MONTHS[m]} has {days}."
    nth = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
           "twelfth"][m]
    return f"Which is the {nth} month of the year?", f"The {nth} month of the year is {MONTHS[m]}."


def ask_time(r):
    h, n = r.randrange(1, 13), r.randrange(1, 12)
    return (f"It is {h} o'clock. What time is it in {n} hour{'s' if n > 1 else ''}?",
            f"{n} hour{'s' if n > 1 else ''} after {h} o'clock it is {(h + n - 1) % 12 + 1} o'clock.")


def ask_problem(r):
    a, b = r.sample(NAMES, 2)
    thing, n, m, k = r.choice(THINGS), r.randrange(2, 30), r.randrange(2, 20), r.randrange(2, 10)
    kind = r.randrange(6)
    if kind == 0:
        return (f"{a} has {n} {thing}. {b} gives {a} {m} more. How many {thing} does {a} have now?",
                f"{n} + {m} = {n + m}. {a} has {n + m} {thing} now.")
    if kind == 1:
        n, m = max(n, m) + 1, min(n, m)
        return (f"{a} has {n} {thing} and gives {m} of them to {b}. How many {thing} are left?",
                f"{n} - {m} = {n - m}. {a} has {n - m} {thing} left.")
    if kind == 2:
        return (f"{a} buys {k} boxes with {m} {thing} in each. How many {thing} is that?",
                f"{k} x {m} = {k * m}. That is {k * m} {thing}.")
    if kind == 3:
        return (f"{a} shares {k * m} {thing} equally among {k} friends. How many does each friend get?",
                f"{k * m} / {k} = {m}. Each friend gets {m} {thing}.")
    if kind == 4:
        return (f"{a} has {n} {thing} and {b} has {m} more than {a}. How many do they have together?",
                f"{b} has {n} + {m} = {n + m}. Together they have {n} + {n + m} = {2 * n + m} {thing}.")
    return (f"A book costs {m} dollars and a pen costs {k} dollars. How much do {a}'s 2 books and 1 pen cost?",
            f"2 x {m} = {2 * m} and {2 * m} + {k} = {2 * m + k}. They cost {2 * m + k} dollars.")


EXERCISES = [(ask_sum, 5), (ask_compare, 1), (ask_sequence, 1), (ask_letters, 3), (ask_copy, 4), (ask_order, 1), (ask_date, 2),
             (ask_time, 1), (ask_problem, 4)]
PRACTICE = [(ask_worked, 12), (ask_compare, 1), (ask_sequence, 1), (ask_letters, 3), (ask_copy, 3), (ask_order, 1),
            (ask_date, 1), (ask_time, 1), (ask_problem, 4)]


def exercises(r, n, kinds):
    makers, weights = zip(*kinds)
    for _ in range(n):
        messages = []
        for _ in range(r.choice([1, 1, 1, 2, 3])):
            messages += turn(*r.choices(makers, weights)[0](r))
        yield messages


def questions(conversations):
    return {m["content"] for messages in conversations for m in messages if m["role"] == "user"}


TASKS = {"sums": [ask_sum], "words": [ask_copy, ask_letters, ask_order], "dates": [ask_date, ask_time],
         "problems": [ask_problem, ask_sequence]}


def tasks(r, makers, n, learnt):
    """Questions with what a right answer contains: a sum's number, else the last sentence."""
    for _ in range(n):
        question, answer = r.choice(makers)(r)
        for _ in range(100):
            if question not in learnt:
                break
            question, answer = r.choice(makers)(r)
        key = re.search(r" -?\d+\.$", answer)[0] if makers == [ask_sum] else re.split(r"[.:] (?=\D)", answer)[-1]
        yield {"prompt": question, "answer": key}


# ---- Talk. ----

def read_zst(path):
    return subprocess.run(["zstd", "-dc", "--long=27", str(path)], check=True, stdout=subprocess.PIPE).stdout.decode()


def dialogues(texts):
    for document in read_zst(texts / "dialogues.txt.zst").split("\n<|endofdoc|>"):
        messages = []
        for line in document.strip().split("\n"):
            who, _, text = line.partition(": ")
            if who in ("User", "Assistant") and text.strip():
                messages.append({"role": who.lower(), "content": text.strip()})
        good = messages and messages[0]["role"] == "user"
        good = good and all(a["role"] != b["role"] for a, b in zip(messages, messages[1:]))
        while good and messages and messages[-1]["role"] == "user":
            messages.pop()
        if good and messages:
            yield messages


def questions_and_answers(texts):
    for line in open(texts / "chatterbot.jsonl", encoding="utf-8"):
        pair = json.loads(line)
        yield turn(pair["user"], pair["assistant"])


def small_talk(r, n, asked):
    for _ in range(n):
        yield smalltalk.conversation(r, lambda r: r.choice(asked)(r))


# ---- Facts, from the World Factbook's "in brief" documents. ----

FACTS = [
    (r"The capital of (?P<c>.+?) is (?P<v>[^.]+?)\.", ["What is the capital of {c}?", "Name the capital of {c}."],
     ["The capital of {c} is {v}.", "It is {v}."]),
    (r"It has a population of about (?P<v>[\d,]+)", ["How many people live in {c}?", "What is the population of {c}?"],
     ["About {v} people live in {c}."]),
    (r"The total area is (?P<v>[\d,.]+ (?:million )?square kilometres)", ["How large is {c}?", "What is the area of {c}?"],
     ["The total area of {c} is {v}."]),
    (r"Its official name is (?P<v>[^.]+)\.", ["What is the official name of {c}?"], ["The official name of {c} is {v}."]),
    (r"The adjective for things from .+? is (?P<v>[^.]+)\.", ["What are things from {c} called?"],
     ["Things from {c} are called {v}."]),
    (r"The highest point is (?P<v>[^\d.]+?) [\d,]+\.", ["What is the highest point of {c}?"],
     ["The highest point of {c} is {v}."]),
]


def facts(texts, r, times):
    for document in read_zst(texts / "factbook.txt.zst").split("\n<|endofdoc|>"):
        title, _, text = document.strip().partition("\n")
        if not title.endswith(" in brief"):
            continue
        country = title[: -len(" in brief")]
        for pattern, questions, answers in FACTS:
            found = re.search(pattern, text)
            if found:
                for _ in range(times):
                    q, a = r.choice(questions), r.choice(answers)
                    yield turn(q.format(c=country), a.format(c=country, v=found.group("v")))


# ---- Paragraphs: what an article begins with, how a story goes on. ----

def first_sentences(text, most):
    end = max((m.end() for m in re.finditer(r"[.!?]\"?(?= |$)", text[:most])), default=0)
    return text[:end]


def articles(texts, r, n):
    questions = ["Tell me about {t}.", "What do you know about {t}?", "Write a few sentences about {t}.", "What is {t}?"]
    documents = read_zst(texts / "wiki.txt.zst").split("\n<|endofdoc|>")
    for document in r.sample(documents, min(n, len(documents))):
        title, _, rest = document.strip().partition("\n\n")
        answer = first_sentences(rest.split("\n\n")[0], 500)
        if title and len(answer) > 80:
            yield turn(r.choice(questions).format(t=title), answer)


def stories(texts, r, n):
    begin = ["Tell me a story.", "Write a short story.", "Write the beginning of a story.", "Tell me a short tale."]
    documents = read_zst(texts / "books.txt.zst").split("\n<|endofdoc|>")
    for document in r.sample(documents, min(n, len(documents))):
        paragraphs = [x for x in document.strip().split("\n\n") if len(x) > 120]
        if len(paragraphs) < 6:
            continue
        i = r.randrange(1, len(paragraphs) - 1)
        here, then = first_sentences(paragraphs[i], 700), first_sentences(paragraphs[i + 1], 700)
        if len(here) < 80 or len(then) < 80:
            continue
        if r.random() < 0.5:
            yield turn(r.choice(begin), here + "\n\n" + then)
        else:
            yield turn(r.choice(["Continue this story: ", "How does this go on? ", "Go on: "]) + here, then)


def write(path, conversations, r):
    conversations = list(conversations)
    r.shuffle(conversations)
    with open(path, "w", encoding="utf-8") as f:
        for messages in conversations:
            f.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    print(f"{path}: {len(conversations)} conversations")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--texts", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--exercises", type=int, default=80000)
    p.add_argument("--smalltalk", type=int, default=60000)
    p.add_argument("--practice", type=int, default=30000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    r = random.Random(a.seed)
    write(a.out / "talk.jsonl", list(dialogues(a.texts)) + list(questions_and_answers(a.texts)), r)
    write(a.out / "smalltalk.jsonl", small_talk(r, a.smalltalk, [ask_sum, ask_letters, ask_date, ask_problem]), r)
    write(a.out / "facts.jsonl", facts(a.texts, r, 3), r)
    write(a.out / "writing.jsonl", list(articles(a.texts, r, 8000)) + list(stories(a.texts, r, 8000)), r)
    learnt = list(exercises(r, a.exercises, EXERCISES))
    write(a.out / "exercises.jsonl", learnt, r)
    asked, kept = questions(learnt), set()
    for name, makers in TASKS.items():
        held = list(tasks(r, makers, 100, asked))
        kept.update(task["prompt"] for task in held)
        with open(a.out / f"{name}.tasks.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps(task) + "\n" for task in held)
    practice = list(exercises(r, a.practice, PRACTICE))
    practice += small_talk(r, a.practice, [ask_worked, ask_letters, ask_date, ask_problem])
    write(a.out / "practice.jsonl", (messages for messages in practice if not kept & questions([messages])), r)


if __name__ == "__main__":
    main()
