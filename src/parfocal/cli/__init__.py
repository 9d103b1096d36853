"""The command line. Each command imports what it needs when it runs, so that `parfocal --help` is instant."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from parfocal import __version__
from parfocal.cli import (
    calibrating,
    collecting,
    emulating,
    enduring,
    exporting,
    finding,
    importing,
    measuring,
    network,
    quality,
    scanning,
    serving,
    setting_up,
    stacks,
    studying,
)
from parfocal.errors import InputError, ParfocalError

EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_BAD_INPUT)
    except click.Abort:
        _fail("interrupted", EXIT_STOPPED)
    except InputError as error:
        _fail(str(error), EXIT_BAD_INPUT)
    except ParfocalError as error:
        _fail(str(error), EXIT_STOPPED)
    sys.exit(code or 0)


def _fail(message: str, code: int) -> NoReturn:
    click.echo("parfocal: " + " ".join(message.split()), err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="parfocal")
def cli() -> None:
    """Whole-slide imaging for low-cost motorised microscopes.

    \b
    Examples:
      parfocal scan simulated-20x --out my-slide
      parfocal info my-slide
      parfocal focus --replay my-stack
    """


for _command in (
    scanning.scan,
    scanning.rescan,
    scanning.focus,
    scanning.verify,
    exporting.stitch,
    scanning.info,
    finding.devices,
    setting_up.setup,
    exporting.export,
    quality.qc,
    importing.import_fields,
    importing.import_images,
    calibrating.calibrate,
    collecting.collect,
    stacks.label,
    network.train,
    network.synthesize,
    network.evaluate,
    studying.study,
    measuring.benchmark,
    serving.serve,
    serving.view,
    serving.account,
    emulating.microscope,
):
    cli.add_command(_command)
measuring.benchmark.add_command(enduring.faults)
