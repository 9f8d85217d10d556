"""``edge-agent keys``: the box's own key, and what an integrator needs to sign commands."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.contract.signed import signed, taken_apart
from edge_agent.domain.faults import ConfigError
from edge_agent.signing import jws
from edge_agent.signing.keys import PublicKey, SigningKey, read_public_keys, read_signing_key
from edge_agent.signing.trust import TrustedKeys

app = typer.Typer(no_args_is_help=True)

Topic = Annotated[str, typer.Option(help="The absolute topic it is for: a signature holds for one topic.")]


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where to write the private key; the public one goes beside it.")],
) -> None:
    """Make an Ed25519 key: FILE (0600, keep it secret) and FILE.pub (give it to whoever shall trust it).

    Example: edge-agent keys new mes.key
    """
    public = file.with_name(f"{file.name}.pub")
    if public.exists():
        raise ConfigError(f"{public} is there already; a key is never written over")
    key = SigningKey.new()
    key.write(file)
    try:
        public.write_text(key.public.pem, "ascii")
    except OSError as error:
        raise ConfigError(f"{public} cannot be written: {error}; `edge-agent keys show` prints it") from error
    typer.echo(f"{file} (secret) and {public}, key id {key.public.key_id}")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A private key, or public ones (PEM).")],
    form: Annotated[str, typer.Option("--format", help="text, pem or jwk.")] = "text",
) -> None:
    """Show the public half of keys; never the private one.

    Example: edge-agent keys show mes.key.pub --format jwk
    """
    keys = _public_keys(file)
    if form == "jwk":
        typer.echo(json.dumps({"keys": [key.jwk for key in keys]}, indent=2))
        return
    for key in keys:
        typer.echo(key.pem.rstrip() if form == "pem" else f"{key.key_id}  Ed25519")


@app.command()
def sign(
    event: Annotated[str, typer.Argument(help="A file with a CloudEvent in JSON; - reads standard input.")],
    key: Annotated[Path, typer.Option(help="The private key.")],
    topic: Topic,
) -> None:
    """Print the event with its signature, ready to be published.

    Example: edge-agent keys sign recipe.json --key mes.key --topic acme/north/a1/l1/c1/_inspect/v1/box-1/in/cmd/recipe
    """
    body, already = taken_apart(_event(event))
    if already:
        raise ConfigError(f"{event} is signed already")
    typer.echo(signed(body, topic, read_signing_key(key)).decode())


@app.command()
def verify(
    event: Annotated[str, typer.Argument(help="A file with a signed CloudEvent; - reads standard input.")],
    trusted: Annotated[Path, typer.Option(help="The public keys of who may have signed it.")],
    topic: Topic,
) -> None:
    """Check the signature of an event, e.g. of a work order that a box has signed.

    Example: edge-agent keys verify order.json --trusted box-1.key.pub --topic acme/north/a1/.../out/wo/ID/order

    Exit codes: 0 right, 1 not.
    """
    body, signature = taken_apart(_event(event))
    try:
        proven = jws.verify(signature, body, TrustedKeys({"them": trusted}).find)
    except jws.BadSignature as error:
        typer.echo(f"not to be believed: {error if signature else 'it is not signed'}", err=True)
        raise typer.Exit(1) from error
    if proven.header.get("topic") != topic:
        typer.echo(f"signed for another topic: {proven.header.get('topic')}", err=True)
        raise typer.Exit(1)
    typer.echo(f"right: signed with {proven.key.key_id}")


def _public_keys(file: Path) -> list[PublicKey]:
    try:
        private = b"PRIVATE KEY" in file.read_bytes()
    except OSError as error:
        raise ConfigError(f"key {file} cannot be read: {error}") from error
    return [read_signing_key(file).public] if private else read_public_keys(file)


def _event(name: str) -> bytes:
    """Raises ConfigError: it cannot be read, or is no JSON object."""
    try:
        body = (sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()).strip()
        content = json.loads(body)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{name}: expected a CloudEvent (a JSON object), found {type(content).__name__}")
    return body
