"""What the clients' scripts share: cases that run one after the other and print lines for tools/run_tests.sh."""
import traceback


def run(recorded, cases):
    """1 when one failed; else what was asked is recorded, if that was wanted (recording.py)."""
    failed = 0
    for case in cases:
        name = f"{recorded.name}_{recorded.kind}_{case.__name__}"
        try:
            case()
            print(f"[       OK ] {name}", flush=True)
        except Exception as e:  # noqa: BLE001 - each case is told about
            traceback.print_exc(limit=-3)
            print(f"{type(e).__name__}: {e}\n[  FAILED  ] {name}\n[  FAILED  ] {name}", flush=True)
            failed = 1
    if recorded.folder and not failed:
        recorded.save()
    return failed
