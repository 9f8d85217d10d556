"""``edge-agent models``: what models there are, whether they are what their cards say, and which one stands where."""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.adding import add as add_model
from edge_agent.adapters.detectors.catalogue import all_models, read_card, resolve
from edge_agent.adapters.detectors.opening import verified
from edge_agent.adapters.detectors.signatures import ModelTrust, sign_card
from edge_agent.adapters.store.database import sqlite_url
from edge_agent.bootstrap.parts import model_trust
from edge_agent.commands.desk import MODELS
from edge_agent.commands.models_compare import compare
from edge_agent.commands.models_stand import own_models, promote, rollback, shadow
from edge_agent.commands.stored import Config, State, open_store, person, state_folder
from edge_agent.config import load
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError
from edge_agent.observability import logs
from edge_agent.signing.keys import read_public_keys, read_signing_key
from edge_agent.signing.trust import TrustedKeys

app = typer.Typer(no_args_is_help=True)
app.command("compare")(compare)
app.command("shadow")(shadow)
app.command("promote")(promote)
app.command("rollback")(rollback)

Folder = Annotated[Path, typer.Option(help="The folder of the models.")]
Keys = Annotated[list[Path] | None, typer.Option("--key", help="Public keys (PEM) of whose signatures are demanded.")]


@app.command("list")
def list_models(models: Folder = MODELS, state: State = None) -> None:
    """List models with what they are for: the product's, and those that were taught on this box or added to it.

    Example: edge-agent models list --state state
    """
    own = own_models(state)
    for name in [*all_models(models), *all_models(own)]:
        card = read_card(resolve(models, name, own))
        typer.echo(f"{name}  {card.description}")
        size_wh = f"{card.inputs[0].shape[3]}x{card.inputs[0].shape[2]}"
        sees = ", ".join(card.classes) or "nothing by itself"
        typer.echo(f"  takes {size_wh}{' and a golden image' if card.needs_golden else ''}; sees {sees}")
        typer.echo(f"  licence: {card.licence}")
        if card.restrictions:
            typer.echo(f"  mind: {card.restrictions}")
        for one in card.accuracy:
            figures = ", ".join(f"{key} {value:g}" for key, value in one.figures.items())
            typer.echo(f"  on {one.data}: {figures}")


@app.command("verify")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="name or name/version; all without one.")] = None,
    models: Folder = MODELS,
    state: State = None,
    config: Annotated[Path | None, typer.Option(help="plant.yaml that says whose signatures count.")] = None,
    key: Keys = None,
) -> None:
    """Verify models: signature, card, sha256, inputs, and that they still see what they saw when they were made.

    Examples:

    edge-agent models verify board

    edge-agent models verify --key quality.pub

    Exit codes: 0 all hold, 1 one does not.
    """
    logs.configure(level="warning", style="console")
    trust, own, wrong = _trust(config, key), own_models(state, config), 0
    for name in names or [*all_models(models), *all_models(own)]:
        try:
            folder = resolve(models, name, own)
            holder = trust.check(folder)
            shown, providers = verified(folder, DetectorOptions(), clock=SystemClock())
        except ConfigError as error:
            wrong += 1
            typer.echo(f"{name}: WRONG: {error}")
        else:
            signed = f", signed by {holder}" if holder else ""
            typer.echo(f"{shown}: holds ({', '.join(providers)}{signed})")
    if wrong:
        raise typer.Exit(1)


@app.command("add")
def add(
    source: Annotated[Path, typer.Argument(help="A model's folder, or its ONNX file (then with --card).")],
    card: Annotated[Path | None, typer.Option(help="The card of an ONNX file; golden.json lies beside it.")] = None,
    why: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    state: State = None,
    config: Config = None,
    key: Keys = None,
    models: Folder = MODELS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify everything, and add nothing.")] = False,
) -> None:
    """Add a model to this box: copied into its state folder, verified there (signature, card, sha256, inputs, golden
    parity), and only then put in place. Nothing uses it until it is named by a recipe, a shadow or a promotion.

    Examples:

    edge-agent models add board-3 --why "trained on the new solder mask" --state state

    edge-agent models add model.onnx --card card.json --dry-run

    Exit codes: 0 added, 78 it is not what its card says, not signed as it must be, or a version that is there already.
    """
    logs.configure(level="warning", style="console")
    trust = _trust(config, key)

    def holds(folder: Path) -> None:
        trust.check(folder)
        verified(folder, DetectorOptions(), clock=SystemClock())

    into = own_models(state, config)
    found = add_model(source, card, into, verify=holds, others=(models,), dry_run=dry_run)
    name = f"{found.name}/{found.version}"
    if dry_run:
        typer.echo(f"{name}: holds; it would be added to {into}")
        return
    typer.echo(f"{name}: added to {into}{_noted(name, found.sha256, why, state, config)}")


@app.command("sign")
def sign(
    name: Annotated[str, typer.Argument(help="name or name/version, or a model's folder.")],
    key: Annotated[Path, typer.Option(help="Your private key (Ed25519, PEM; only its owner may read it).")],
    models: Folder = MODELS,
    state: State = None,
) -> None:
    """Sign a model's card, which names the sha256 of its file. The signature is a detached JWS in card.sig beside it.

    The model is verified first: nobody signs what does not hold.

    Example: edge-agent models sign board-3 --key quality.key
    """
    logs.configure(level="warning", style="console")
    folder = Path(name) if (Path(name) / "card.json").is_file() else resolve(models, name, own_models(state))
    signing = read_signing_key(key)
    shown, _ = verified(folder, DetectorOptions(), clock=SystemClock())
    typer.echo(f"{shown}: signed with {signing.public.key_id} in {sign_card(folder, signing)}")


def _trust(config: Path | None, keys: list[Path] | None) -> ModelTrust:
    """Keys on the command line are demanded; else what the plant says."""
    if keys:
        for file in keys:
            read_public_keys(file)
        return ModelTrust(keys=TrustedKeys({file.stem: file for file in keys}), demanded=True)
    return model_trust(load(config)) if config else ModelTrust(keys=TrustedKeys({}))


def _noted(name: str, sha256: str, why: str, state: Path | None, config: Path | None) -> str:
    """Write it into the audit log, where the box has one yet."""
    if config is None and not Path(sqlite_url(state_folder(state)).partition(":///")[2]).is_file():
        return "; this box has no audit log yet"
    store = open_store(state, config)
    with store.unit() as unit:
        unit.audit.append(actor=person(), action="model.added", subject=f"model:{name}", after=sha256, detail=why)
        unit.commit()
    store.close()
    return ""
