"""Parfocal focuses each position of an acquisition of pymmcore-plus. The core here is ours, over a simulated specimen.

Needs: pip install parfocal[micromanager]. Run it in the folder that holds examples/.
"""

from pathlib import Path

import useq
from pymmcore_plus.experimental.unicore import UniMMCore

from parfocal.devices.micromanager.session import close_session
from parfocal.micromanager.autofocus import FocusingEngine

microscopes = Path("examples/microscopes")
core = UniMMCore()
core.loadSystemConfiguration(microscopes / "micromanager-unimmcore.cfg")

engine = FocusingEngine(
    core,
    microscopes / "micromanager-unimmcore.toml",
    on_focus=lambda event, result: print(event.pos_name, result.verdict, f"z {result.z_um:.2f} µm", result.reason),
)
core.mda.set_engine(engine)
core.mda.run(
    useq.MDASequence(
        stage_positions=[
            useq.Position(x=0, y=0, z=0, name="left"),
            useq.Position(x=350, y=0, z=0, name="right"),
        ],
        autofocus_plan=useq.AxesBasedAF(axes=("p",)),
    )
)
close_session(core)
