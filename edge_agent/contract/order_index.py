"""The retained list of open orders, made new whenever an order changes."""

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.ports import Clock, UnitOfWork

_SEQUENCE = "order_index_sequence"


RESYNCED_AT_MOST = 200
"""Open orders that are sent again in one go; the index names all of them."""


def announce_again(uow: UnitOfWork, *, sender: Sender, clock: Clock) -> int:
    """After the broker or the MES may have forgotten: the index, and each open order as it is now; how many orders.

    The revisions are the same: a MES that knows them ignores them.
    """
    orders = uow.orders.list(open_only=True, limit=RESYNCED_AT_MOST)
    for order in orders:
        analysis = uow.analyses.get(order.analysis_id)
        uow.outbox.add(outbound.work_order(order, analysis, "update", sender=sender, clock=clock))
    if orders:
        announce_index(uow, sender=sender, clock=clock)
    return len(orders)


def announce_index(uow: UnitOfWork, *, sender: Sender, clock: Clock) -> None:
    """Put the index of all open orders into the outbox, with the next sequence number, in this transaction."""
    sequence = int(uow.facts.get(_SEQUENCE) or 0) + 1
    uow.facts.set(_SEQUENCE, sequence)
    orders = uow.orders.list(open_only=True)
    answered = frozenset(order.order_id for order in orders if uow.answers.responses(order.order_id))
    uow.outbox.add(outbound.order_index(orders, sequence, sender=sender, clock=clock, answered=answered))
