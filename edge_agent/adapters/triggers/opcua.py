"""A PLC's variable says that a part is in place (OPC UA); see docs/plc.md for the handshake."""

from collections.abc import Callable, Collection, Mapping

from edge_agent.adapters.opcua import PlcVariables
from edge_agent.adapters.triggers.plc import COUNTER, PlcTrigger, Product, Request, Terms
from edge_agent.config.stations import OpcUaTriggerOptions
from edge_agent.domain.faults import ConfigError
from edge_agent.ports import Clock, PlantLink

_LONGEST_PART_ID = 128


class OpcUaTrigger(PlcTrigger):
    """Implements ``ports.TriggerSource``; see `PlcTrigger`."""

    def __init__(
        self,
        options: OpcUaTriggerOptions,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        link: PlantLink | None = None,
        owes: Callable[[], bool] = lambda: False,
        recipes: Collection[str] | None = None,
    ) -> None:
        """See `PlcTrigger`."""
        name = f"station {station_id}: PLC {options.url}"
        terms = Terms(
            name=name,
            protocol="opcua",
            poll_s=options.poll_ms / 1e3,
            heartbeat_timeout_s=options.heartbeat_timeout_s,
            ack_timeout_s=options.ack_timeout_s,
            hold_while_busy=options.while_busy == "hold",
            echoes_product=options.product is not None and options.product_echo is not None,
            products=options.products,
            product_id=options.product_id,
        )
        memory = OpcUaMemory(options, name)
        super().__init__(memory, terms, station_id=station_id, strata=strata, clock=clock, owes=owes, recipes=recipes)


class OpcUaMemory:
    """Implements ``Memory``: variables of the PLC's server."""

    def __init__(self, options: OpcUaTriggerOptions, name: str) -> None:
        self._options, self._name = options, name
        self._variables = PlcVariables(options, name)
        self._polled = [options.trigger, *([options.heartbeat] if options.heartbeat else [])]

    def connect(self) -> None:
        """Raises Transient when the server does not answer, ConfigError for variables that it has not."""
        options = self._options
        more = [name for name in (options.product, options.product_echo) if name]
        self._variables.connect([*self._polled, options.sequence, options.part_id, *more])

    def poll(self) -> tuple[bool, object]:
        """The trigger and the heartbeat, in one request."""
        is_set, *beat = self._variables.read(self._polled)
        return bool(is_set), beat[0] if beat else None

    def request(self) -> Request:
        """Read after the trigger was seen: a server need not read several variables at one moment."""
        sequence, part_id = self._variables.read([self._options.sequence, self._options.part_id])
        if isinstance(sequence, bool) or not isinstance(sequence, int):
            raise ConfigError(f"{self._name}: {self._options.sequence} is {sequence!r:.40}, not a whole number")
        return Request(sequence=sequence % COUNTER, part_id=_printable(str(part_id or "")), product=self.product())

    def product(self) -> Product:
        """The product variable: a number or a string."""
        if self._options.product is None:
            return None
        (value,) = self._variables.read([self._options.product])
        return value.strip() if isinstance(value, str) else int(value or 0)

    def echo(self, product: Product) -> None:
        """The same again, or 0 (an empty string)."""
        name = self._options.product_echo
        if name is not None:
            nothing: str | int = "" if self._variables.is_text(name) else 0
            self._variables.write({name: nothing if product is None else product})

    def close(self) -> None:
        """Disconnect."""
        self._variables.close()


def _printable(text: str) -> str:
    """What is not printable becomes ``?``."""
    return "".join(sign if sign.isprintable() else "?" for sign in text.strip()[:_LONGEST_PART_ID])
