"""Which GPU a program sees: index, UUID, MIG instance, and what an index may mean to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drivers.nvidia.gpus import Gpu, Machine, visible, wanted_channels
from harness.core.errors import DeviceError, SpecError

A = Gpu(0, "GPU-aaaaaaaa-0000", "NVIDIA A100-SXM4-40GB", 7, mig=True, instances=("MIG-1111", "MIG-2222"))
B = Gpu(1, "GPU-bbbbbbbb-0000", "NVIDIA A100-SXM4-40GB", 7)
C = Gpu(2, "GPU-bbbbcccc-0000", "NVIDIA GeForce RTX 4090", 8, fields=frozenset({"power"}), refused=(("energy", "no"),))
SAME, MIXED = Machine("550", (A, B)), Machine("550", (A, B, C), {"gpu3": "the GPU is lost"})


def chosen(machine: Machine, choice: str, order: str = "fastest") -> list[tuple[int, str]]:
    return [(seen.gpu.index, seen.instance) for seen in visible(machine, choice, order)]


def test_an_empty_choice_is_all() -> None:
    assert chosen(MIXED, "") == [(0, ""), (1, ""), (2, "")]


def test_indices_count_alike_where_all_gpus_are_alike() -> None:
    assert chosen(SAME, "1,0") == [(1, ""), (0, "")]


def test_an_index_that_may_mean_another_gpu_to_cuda_is_refused_with_the_uuid() -> None:
    with pytest.raises(SpecError, match="counts from the fastest on") as caught:
        chosen(MIXED, "1")
    assert B.uuid in caught.value.hint and "cuda_order: pci" in caught.value.hint
    assert chosen(MIXED, "2", "pci") == [(2, "")]


def test_uuids_may_be_shortened_while_they_are_one() -> None:
    assert chosen(MIXED, "GPU-aaaa, GPU-bbbbc") == [(0, ""), (2, "")]
    with pytest.raises(SpecError, match="beginning of 2"):
        chosen(MIXED, "GPU-bbbb")


def test_a_mig_instance_is_measured_by_its_gpu_which_is_taken_once() -> None:
    assert chosen(MIXED, "MIG-2222") == [(0, "MIG-2222")]
    assert chosen(MIXED, "MIG-1111,MIG-2222,GPU-bbbbb") == [(0, "MIG-1111"), (1, "")]
    assert chosen(MIXED, f"MIG-{A.uuid}/1/0") == [(0, f"MIG-{A.uuid}/1/0")]  # as drivers before 470 wrote it


def test_where_instances_are_not_named_one_divided_gpu_is_the_one_and_two_are_refused() -> None:
    nameless = replace(A, instances=())
    assert chosen(Machine("550", (nameless, B, C)), "MIG-9999") == [(0, "MIG-9999")]
    with pytest.raises(DeviceError, match="there is no GPU"):
        chosen(Machine("550", (nameless, replace(B, mig=True))), "MIG-9999")


@pytest.mark.parametrize("choice", ["7", "GPU-dddd", "MIG-9999"])
def test_a_gpu_that_is_not_there_is_said_with_those_that_are(choice: str) -> None:
    with pytest.raises(DeviceError, match="there is no GPU") as caught:
        chosen(MIXED, choice, "pci")
    assert A.uuid in caught.value.message and "gpu3 could not be opened: the GPU is lost" in caught.value.message


@pytest.mark.parametrize("choice", ["-1", "all", "0,0", "0 1", ","])
def test_what_is_no_choice_is_refused(choice: str) -> None:
    with pytest.raises(SpecError):
        chosen(SAME, choice)


def test_channels_are_those_of_the_chosen_gpus() -> None:
    seen = visible(MIXED, "", "pci")
    assert [(g.index, f) for g, f in wanted_channels(seen, ["gpu2/power", "gpu0/energy"], ("energy", "power"))] == [
        (2, "power"),
        (0, "energy"),
    ]
    assert len(wanted_channels(seen, [], ("energy", "power"))) == 5
    with pytest.raises(DeviceError, match="does not tell it") as caught:
        wanted_channels(seen, ["gpu2/energy"], ("energy", "power"))
    assert "gpu2/power" in caught.value.message
    with pytest.raises(DeviceError, match="there is no channel 'gpu9/power'"):
        wanted_channels(seen, ["gpu9/power"], ("energy", "power"))
    with pytest.raises(DeviceError, match="option visible"):
        try:
            wanted_channels(visible(MIXED, "GPU-aaaa", "pci"), ["gpu1/power"], ("power",))
        except DeviceError as error:
            raise DeviceError(error.hint) from error
