"""What the link finds suspicious, told loudly: the health board, ``out/error``, the audit log."""

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Clock, LinkAlarm, PlantLink, Store


class AlarmWatch:
    """Looks at the link's alarms; each is written once when it comes, and shown until it goes."""

    def __init__(self, *, link: PlantLink, store: Store, sender: Sender, health: Health, clock: Clock) -> None:
        self._link, self._store, self._sender = link, store, sender
        self._health, self._clock = health, clock
        self._written: set[str] = set()

    def look(self) -> None:
        """Report what has changed.

        Raises:
            Transient: the store is not available; it is tried again.
        """
        for alarm in self._link.status().alarms:
            condition = Condition.DEGRADED if alarm.active else Condition.OK
            self._health.report(alarm.component, condition, alarm.detail, at=self._clock.now())
            if not alarm.active:
                self._written.discard(alarm.component)
            elif alarm.component not in self._written:
                self._write(alarm)
                self._written.add(alarm.component)

    def _write(self, alarm: LinkAlarm) -> None:
        event = outbound.error(
            "security",
            topic=self._sender.topic_root,
            reason_code=alarm.component.replace(" ", "-"),
            detail=alarm.detail,
            original=b"",
            sender=self._sender,
            clock=self._clock,
        )
        with self._store.unit() as unit:
            unit.outbox.add(event)
            subject = f"alarm:{alarm.component}"
            unit.audit.append(actor=self._sender.agent, action="alarm.raised", subject=subject, detail=alarm.detail)
            unit.commit()
