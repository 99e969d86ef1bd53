"""What tegrastats prints on which module and JetPack: its lines but for the figures, and the rails behind them.

The heads are those of captured lines (tests/drivers/tegrastats/data/lines.txt); a test holds what is rendered here
against the captures, character by character. Device tree models, releases and shunts are plausible, not captured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rail:
    """`share`: of the module's power that it carries; `shunt_ohm`: of the INA3221's channel."""

    name: str
    share: float
    shunt_ohm: float


@dataclass(frozen=True)
class Profile:
    """`head`: the line up to its rails; `form`: `bare`, `mW` or `mW3`; `dated`: whether a date stands before it."""

    module: str
    model: str
    release: str
    head: str
    form: str
    dated: bool
    rails: tuple[Rail, ...]

    def line(self, now_mw: Mapping[str, int], mean_mw: Mapping[str, int], date: str = "") -> str:
        """One line; `date`: `MM-DD-YYYY HH:MM:SS`."""
        unit = "" if self.form == "bare" else "mW"
        third = self.form == "mW3"
        words = []
        for rail in self.rails:
            numbers = [now_mw[rail.name], mean_mw[rail.name]]
            words.append(
                f"{rail.name} " + "/".join(f"{n}{unit}" for n in (numbers + numbers[:1] if third else numbers))
            )
        return (f"{date} " if self.dated else "") + self.head + " ".join(words)


PROFILES: Mapping[str, Profile] = {
    "tx1-jp3": Profile(
        "tx1",
        "jetson_tx1",
        "# R28 (release), REVISION: 1.0",
        "RAM 3468/3983MB (lfb 48x4MB) SWAP 873/8192MB (cached 295MB) cpu [17%,13%,29%,5%]@408 EMC "
        "1%@408 APE 25 GR3D 3%@76",
        "bare",
        False,
        (),
    ),
    "tx2-jp4": Profile(
        "tx2",
        "quill",
        "# R32 (release), REVISION: 7.1",
        "RAM 2344/7852MB (lfb 1154x4MB) SWAP 0/3926MB (cached 0MB) CPU "
        "[1%@345,off,off,1%@345,0%@345,2%@345] EMC_FREQ 4%@1600 GR3D_FREQ 0%@624 APE 150 PLL@37.5C "
        "MCPU@37.5C PMIC@100C Tboard@32C GPU@35C BCPU@37.5C thermal@36.5C Tdiode@34.25C ",
        "bare",
        False,
        (
            Rail("VDD_SYS_GPU", 0.2, 0.01),
            Rail("VDD_SYS_SOC", 0.2, 0.01),
            Rail("VDD_4V0_WIFI", 0.0, 0.01),
            Rail("VDD_IN", 1.0, 0.01),
            Rail("VDD_SYS_CPU", 0.25, 0.01),
            Rail("VDD_SYS_DDR", 0.2, 0.01),
        ),
    ),
    "nano-jp4": Profile(
        "nano",
        "NVIDIA Jetson Nano Developer Kit",
        "# R32 (release), REVISION: 7.1",
        "RAM 534/3964MB (lfb 98x4MB) SWAP 5/1982MB (cached 1MB) IRAM 0/252kB(lfb 252kB) CPU "
        "[16%@204,9%@204,0%@204,0%@204] EMC_FREQ 0%@204 GR3D_FREQ 0%@76 APE 25 PLL@34C CPU@36.5C "
        "PMIC@100C GPU@36C AO@39.5C thermal@36.25C ",
        "bare",
        False,
        (
            Rail("POM_5V_IN", 1.0, 0.005),
            Rail("POM_5V_GPU", 0.3, 0.005),
            Rail("POM_5V_CPU", 0.4, 0.005),
        ),
    ),
    "nano-user": Profile(
        "nano",
        "NVIDIA Jetson Nano Developer Kit",
        "# R32 (release), REVISION: 4.3",
        "RAM 613/3964MB (lfb 634x4MB) SWAP 0/1982MB (cached 0MB) CPU [2%@102,1%@102,0%@102,0%@102] "
        "EMC_FREQ 0% GR3D_FREQ 0% PLL@39C CPU@40.5C PMIC@100C GPU@41C AO@46C thermal@41C ",
        "bare",
        False,
        (
            Rail("POM_5V_IN", 1.0, 0.005),
            Rail("POM_5V_GPU", 0.3, 0.005),
            Rail("POM_5V_CPU", 0.4, 0.005),
        ),
    ),
    "agx-xavier-jp4": Profile(
        "agx-xavier",
        "Jetson-AGX",
        "# R32 (release), REVISION: 6.1",
        "RAM 721/31927MB (lfb 7291x4MB) SWAP 0/15963MB (cached 0MB) CPU "
        "[2%@1190,0%@1190,0%@1190,0%@1190,off,off,off,off] EMC_FREQ 0%@665 GR3D_FREQ 0%@318 APE 150 MTS "
        "fg 0% bg 0% AO@37.5C GPU@37.5C Tdiode@40C PMIC@100C AUX@36C CPU@37.5C thermal@36.9C Tboard@37C ",
        "bare",
        False,
        (
            Rail("GPU", 0.2, 0.005),
            Rail("CPU", 0.25, 0.005),
            Rail("SOC", 0.2, 0.005),
            Rail("CV", 0.0, 0.005),
            Rail("VDDRQ", 0.1, 0.005),
            Rail("SYS5V", 0.25, 0.005),
        ),
    ),
    "agx-xavier-jp5": Profile(
        "agx-xavier",
        "Jetson-AGX",
        "# R35 (release), REVISION: 2.1",
        "RAM 721/31927MB (lfb 7291x4MB) SWAP 0/15963MB (cached 0MB) CPU "
        "[2%@1190,0%@1190,0%@1190,0%@1190,off,off,off,off] EMC_FREQ 0%@1331 GR3D_FREQ 0%@114 VIC_FREQ "
        "115 APE 150 AUX@36C CPU@36.5C thermal@35.7C Tboard@37C AO@35C GPU@35C Tdiode@38.75C PMIC@50C ",
        "mW",
        False,
        (
            Rail("GPU", 0.2, 0.005),
            Rail("CPU", 0.25, 0.005),
            Rail("SOC", 0.2, 0.005),
            Rail("CV", 0.0, 0.005),
            Rail("VDDRQ", 0.1, 0.005),
            Rail("SYS5V", 0.25, 0.005),
        ),
    ),
    "xavier-nx-jp4": Profile(
        "xavier-nx",
        "NVIDIA Jetson Xavier NX Developer Kit",
        "# R32 (release), REVISION: 7.1",
        "RAM 4412/7772MB (lfb 237x4MB) SWAP 139/3886MB (cached 2MB) CPU "
        "[9%@1190,6%@1190,6%@1190,5%@1190,4%@1190,8%@1267] EMC_FREQ 10%@1600 GR3D_FREQ 62%@306 APE 150 "
        "MTS fg 0% bg 0% AO@41.5C GPU@43C PMIC@100C AUX@41.5C CPU@43.5C thermal@42.55C ",
        "bare",
        False,
        (
            Rail("VDD_IN", 1.0, 0.005),
            Rail("VDD_CPU_GPU_CV", 0.4, 0.005),
            Rail("VDD_SOC", 0.3, 0.005),
        ),
    ),
    "orin-nx-jp5": Profile(
        "orin-nx",
        "NVIDIA Orin NX Developer Kit",
        "# R35 (release), REVISION: 4.1",
        "RAM 6334/15388MB (lfb 1770x4MB) SWAP 491/7694MB (cached 0MB) CPU "
        "[6%@729,9%@729,5%@729,16%@729,off,off,off,off] EMC_FREQ 0%@2133 GR3D_FREQ 0%@611 VIC_FREQ 729 "
        "APE 174 CV0@45.812C CPU@47.937C SOC2@46.093C SOC0@46.968C CV1@46.406C GPU@45.875C tj@48.875C "
        "SOC1@48.875C CV2@45.75C ",
        "mW",
        False,
        (
            Rail("VDD_IN", 1.0, 0.005),
            Rail("VDD_CPU_GPU_CV", 0.4, 0.005),
            Rail("VDD_SOC", 0.3, 0.005),
        ),
    ),
    "orin-nano-jp6": Profile(
        "orin-nano",
        "NVIDIA Jetson Orin Nano Developer Kit",
        "# R36 (release), REVISION: 4.0",
        "RAM 6185/7620MB (lfb 8x2MB) SWAP 851/3810MB (cached 1MB) CPU "
        "[15%@729,11%@729,14%@729,13%@729,11%@729,8%@729] EMC_FREQ 43%@2133 GR3D_FREQ 63%@[621] NVDEC "
        "off NVJPG off NVJPG1 off VIC off OFA off APE 200 cpu@53.968C soc2@52.437C soc0@50.75C "
        "gpu@53.343C tj@53.968C soc1@51.656C ",
        "mW",
        True,
        (
            Rail("VDD_IN", 1.0, 0.005),
            Rail("VDD_CPU_GPU_CV", 0.4, 0.005),
            Rail("VDD_SOC", 0.3, 0.005),
        ),
    ),
    "orin-nano-user": Profile(
        "orin-nano",
        "NVIDIA Jetson Orin Nano Developer Kit",
        "# R36 (release), REVISION: 4.0",
        "RAM 3452/7620MB (lfb 25x4MB) SWAP 1518/16384MB (cached 174MB) CPU "
        "[1%@1420,2%@1420,0%@1420,2%@1420,2%@729,1%@729] GR3D_FREQ 0% cpu@50.031C soc2@49.031C soc0@50C "
        "gpu@49.031C tj@50.25C soc1@50.25C ",
        "mW",
        True,
        (
            Rail("VDD_IN", 1.0, 0.005),
            Rail("VDD_CPU_GPU_CV", 0.4, 0.005),
            Rail("VDD_SOC", 0.3, 0.005),
        ),
    ),
    "agx-orin-jp6": Profile(
        "agx-orin",
        "NVIDIA Jetson AGX Orin Developer Kit",
        "# R36 (release), REVISION: 3.0",
        "RAM 29114/30697MB (lfb 3x4MB)    SWAP 4915/15348MB (cached 1MB) CPU [3%@729,...,0%@2201] "
        "EMC_FREQ 1%@2133 GR3D_FREQ 0%@[305,305] NVENC      off  NVDEC    off NVJPG off NVJPG1    off   "
        "      VIC        off          OFA           off          NVDLA0    off       NVDLA1     off    "
        "      PVA0_FREQ off         APE           174        cpu@53.062C soc2@48.25C soc0@48.843C  "
        "gpu@47.812C tj@53.062C soc1@48.968C    ",
        "mW",
        False,
        (
            Rail("VDD_GPU_SOC", 0.4, 0.002),
            Rail("VDD_CPU_CV", 0.35, 0.002),
            Rail("VIN_SYS_5V0", 0.25, 0.002),
        ),
    ),
    "agx-orin-jp7": Profile(
        "agx-orin",
        "NVIDIA Jetson AGX Orin Developer Kit",
        "# R39 (release), REVISION: 2.0",
        "RAM 20642/62817MB (lfb 1x2MB) CPU "
        "[23%@2201,10%@2201,4%@2201,14%@2201,30%@2201,18%@2201,10%@2201,10%@2201,33%@2201,7%@2201,5%@220"
        "1,27%@2201] EMC_FREQ 3%@3199 GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 "
        "off VIC off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 cpu@52.968C/52.968C "
        "soc2@48.406C/48.406C soc0@49.531C/49.531C gpu@47.625C/47.625C ",
        "mW3",
        True,
        (
            Rail("VDD_GPU_SOC", 0.4, 0.002),
            Rail("VDD_CPU_CV", 0.35, 0.002),
            Rail("VIN_SYS_5V0", 0.25, 0.002),
        ),
    ),
    "agx-thor-jp7": Profile(
        "agx-thor",
        "NVIDIA Jetson AGX Thor Developer Kit",
        "# R38 (release), REVISION: 2.0",
        "RAM 86905/125772MB (lfb 368x4MB) CPU [12%@972,10%@972,off,33%@1890] cpu@39.812C tj@39.906C "
        "soc012@38.812C gpu@39.906C soc345@38.625C ",
        "mW",
        True,
        (
            Rail("VDD_GPU", 0.15, 0.002),
            Rail("VDD_CPU_SOC_MSS", 0.35, 0.002),
            Rail("VIN_SYS_5V0", 0.3, 0.002),
            Rail("VIN", 1.0, 0.002),
        ),
    ),
}
