"""The proof of the Toy W1: conformance, faults, a capture of the device."""

from pathlib import Path

from toy_meter import simulated
from toy_meter.codec import Codec
from toy_meter.meter import find_attached

from harness.testing import kit

CAPTURE = Path(__file__).parent / "data" / "toy-w1-fw1.0.txt"

test_conformance = kit.conformance(simulated.subject)
test_faults = kit.fault_tests(simulated.trials)
test_chunks = kit.chunking(Codec, CAPTURE.read_bytes())


def test_the_capture_says_what_the_display_showed() -> None:
    """0.412 W at rest, 7.950 W at work; a line cut short by the cable, and one beyond the range."""
    codec = Codec()
    rows = codec.feed(CAPTURE.read_bytes())
    assert [milliwatt for _, milliwatt in rows] == [412, 412, 413, 7950, 7951, 7949, 412]
    assert [t_ns // 10_000_000 for t_ns, _ in rows] == [1, 2, 3, 5, 6, 8, 9]
    block = codec.take()
    assert block is not None
    assert dict(block.counts) == {"damaged_lines": 1, "lost_lines": 1, "saturated_samples": 1}


def test_it_is_found_by_its_name(joulebench_tree) -> None:
    from harness.core.ports import MeterRequest

    joulebench_tree.write("dev/serial/by-id/usb-Toy_W1_4711-if00", "")
    (found,) = find_attached(MeterRequest("toy", sysfs_root=joulebench_tree.root))
    assert found.options["port"].endswith("usb-Toy_W1_4711-if00")
