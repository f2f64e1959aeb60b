"""What the bench measures, and how long."""

import argparse

PARTS = ("streams", "crowd", "sends", "stops", "sockets")


def parse(told: str | None) -> argparse.Namespace:
    """`parts`: what of PARTS to measure, all of them or one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=told)
    parser.add_argument("--streams", type=int, nargs="+", help="how many at once (1 10 50 200)")
    parser.add_argument("--seconds", type=float, help="how long each reply is written (10)")
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second and stream")
    parser.add_argument("--rounds", type=int, help="relay and product in turns, so many times (3)")
    parser.add_argument("--ramp", type=float, default=2.0, help="seconds over which a run's streams begin")
    parser.add_argument("--viewers", type=int, help="how many watch, while somebody among them does not read (500)")
    parser.add_argument("--stalled", type=int, default=1, help="how many do not read (1)")
    parser.add_argument("--quick", action="store_true", help="10 and 50 streams of 4 s, 100 viewers, once")
    for part in PARTS:
        parser.add_argument(f"--only-{part}", dest="parts", action="store_const", const=(part,), help=f"measure {part} alone")
    return _complete(parser.parse_args())


def _complete(options: argparse.Namespace) -> argparse.Namespace:
    is_quick = options.quick
    options.parts = options.parts or PARTS
    options.streams = options.streams or ([10, 50] if is_quick else [1, 10, 50, 200])
    options.seconds = options.seconds or (4.0 if is_quick else 10.0)
    options.rounds = options.rounds or (1 if is_quick else 3)
    options.viewers = options.viewers or (100 if is_quick else 500)
    options.times = 20 if is_quick else 100
    options.openings = 5 if is_quick else 15
    options.sockets = 100 if is_quick else 500
    return options
