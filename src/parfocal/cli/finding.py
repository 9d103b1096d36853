"""The command that looks for devices: devices."""

from __future__ import annotations

import json

import click

from parfocal.cli.terminal import json_option


@click.command()
@json_option
def devices(as_json: bool) -> None:
    """List what is connected: cameras, boards, microscopes that a driver can open. Nothing moves.

    For each, the table to paste into an instrument's TOML file.

    \b
    Examples:
      parfocal devices
      parfocal devices --json
    """
    from parfocal.config.connected import as_toml, look_for_devices

    looked = look_for_devices()
    found = [one for driver in looked for one in driver.found]
    if as_json:
        told = [
            {
                "driver": one.driver,
                "address": one.address,
                "description": one.description,
                "settings": one.settings,
                "toml": as_toml(one),
            }
            for one in found
        ]
        click.echo(json.dumps({"devices": told, "drivers": [driver.to_json() for driver in looked]}, indent=2))
        return
    for one in found:
        click.echo(f"# {one.description}, at {one.address}\n{as_toml(one)}\n")
    if not found:
        click.echo("nothing found\n")
    click.echo("drivers: " + ", ".join(driver.driver for driver in looked))
    for driver in looked:
        if driver.trouble:
            click.echo(f"{driver.driver}: {driver.trouble}")
