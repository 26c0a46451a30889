"""What the clients' scripts share: cases that run one after the other and print lines for tools/run_tests.sh."""
import traceback


def run(prefix, cases):
    """1 when one failed."""
    failed = 0
    for case in cases:
        name = f"{prefix}_{case.__name__}"
        try:
            case()
            print(f"[       OK ] {name}", flush=True)
        except Exception as e:  # noqa: BLE001 - each case is told about
            traceback.print_exc(limit=-3)
            print(f"{type(e).__name__}: {e}\n[  FAILED  ] {name}\n[  FAILED  ] {name}", flush=True)
            failed = 1
    return failed
