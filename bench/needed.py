"""Imported first by the scripts here: a package that is missing becomes one line instead of a traceback,
and --help works without it."""
import os
import sys

PIP = {"llama_cpp": "llama-cpp-python"}  # where pip's name is another


def say(kind, error, trace):
    if not issubclass(kind, ModuleNotFoundError) or not error.name:
        sys.__excepthook__(kind, error, trace)
        return
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(sys.modules["__main__"].__doc__, flush=True)
        os._exit(0)
    name = error.name.split(".")[0]
    print(f"{sys.argv[0]}: the package {name} is missing: {sys.executable} -m pip install {PIP.get(name, name)}",
          file=sys.stderr)


sys.excepthook = say
