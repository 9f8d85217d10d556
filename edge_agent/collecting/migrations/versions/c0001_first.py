"""The first schema: what came in, the boxes and their numbers, and the views."""

from alembic import op

revision = "c0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE box (
    source text PRIMARY KEY,
    box text NOT NULL, enterprise text NOT NULL, site text NOT NULL, area text NOT NULL,
    line text NOT NULL, cell text NOT NULL,
    seen int8multirange NOT NULL DEFAULT '{}',
    duplicates bigint NOT NULL DEFAULT 0,
    out_of_order bigint NOT NULL DEFAULT 0,
    repeated_numbers bigint NOT NULL DEFAULT 0,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN box.seen IS 'sequence numbers that are here, or that a count of results stands for';
COMMENT ON COLUMN box.repeated_numbers IS 'new messages with a number used before: the box has lost its store';

CREATE TABLE event (
    source text NOT NULL, id uuid NOT NULL, time timestamptz NOT NULL,
    type text NOT NULL, subject text NOT NULL, topic text NOT NULL, sequence bigint,
    received_at timestamptz NOT NULL DEFAULT now(), worker text NOT NULL, data jsonb NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX event_sequence ON event (source, sequence);
CREATE INDEX event_type_time ON event (type, time);
CREATE INDEX event_time ON event (time);
CREATE INDEX event_subject ON event (subject);

CREATE TABLE reading (
    source text NOT NULL, name text NOT NULL, time timestamptz NOT NULL, value double precision NOT NULL,
    PRIMARY KEY (source, name, time)
);
CREATE INDEX reading_time ON reading (time);

CREATE TABLE dead_letter (
    topic text NOT NULL, sha256 text NOT NULL, reason text NOT NULL, detail text NOT NULL,
    size_bytes bigint NOT NULL, excerpt bytea NOT NULL, times bigint NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT now(), last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, sha256)
);
"""

VIEWS = """
CREATE VIEW inspection AS
SELECT b.site, b.area, b.line, b.cell, b.box, e.source, e.id,
    e.data->>'inspectionId' AS inspection_id, e.data->>'stationId' AS station, e.data->>'productId' AS product,
    e.data->>'unitId' AS unit, e.data->>'lotId' AS lot,
    e.data->>'evaluation' AS evaluation, e.data->>'disposition' AS disposition,
    (e.data->>'endedAt')::timestamptz AS ended_at
FROM event e JOIN box b USING (source)
WHERE e.type = 'org.edge-agent.inspection.completed.v1';

CREATE VIEW yield_daily AS
SELECT site, line, box, station, product, day, sum(parts)::bigint AS parts,
    (sum(parts) FILTER (WHERE evaluation = 'OK'))::bigint AS good,
    (sum(parts) FILTER (WHERE evaluation = 'NOT_OK'))::bigint AS bad,
    (sum(parts) FILTER (WHERE evaluation NOT IN ('OK', 'NOT_OK')))::bigint AS undecided,
    round(coalesce(sum(parts) FILTER (WHERE evaluation = 'OK'), 0)::numeric
        / nullif(sum(parts) FILTER (WHERE evaluation IN ('OK', 'NOT_OK')), 0), 6) AS yield
FROM (
    SELECT site, line, box, station, product, ended_at::date AS day, evaluation, 1 AS parts FROM inspection
    UNION ALL
    SELECT b.site, b.line, b.box, e.data->>'stationId', e.data->>'productId', (e.data->>'start')::timestamptz::date,
        coalesce(e.data->>'evaluation', 'OK'), (e.data->>'count')::int
    FROM event e JOIN box b USING (source) WHERE e.type = 'org.edge-agent.inspection.counted.v1'
) AS one
GROUP BY site, line, box, station, product, day;

CREATE VIEW pareto_daily AS
SELECT b.site, b.line, b.box, e.data->>'stationId' AS station, (e.data->>'firstSeen')::timestamptz::date AS day,
    e.data->>'defectClass' AS defect_class, count(DISTINCT e.data->>'inspectionId') AS parts,
    sum((e.data->>'count')::int)::bigint AS defects
FROM event e JOIN box b USING (source)
WHERE e.type = 'org.edge-agent.defect.found.v1'
GROUP BY 1, 2, 3, 4, 5, 6;

CREATE VIEW work_order AS
SELECT DISTINCT ON (e.source, e.subject) b.site, b.line, b.box, e.source, e.subject AS order_id,
    e.data->>'number' AS number, (e.data->>'rev')::int AS rev, e.data->>'state' AS state,
    (e.data->>'priority')::int AS priority, e.data->>'description' AS description,
    e.data->>'expectedCause' AS expected_cause, e.data->>'mesOrderId' AS mes_order,
    (e.data->>'startTime')::timestamptz AS start_time, (e.data->>'endTime')::timestamptz AS due, e.time AS changed_at
FROM event e JOIN box b USING (source)
WHERE starts_with(e.type, 'org.edge-agent.workorder.') AND split_part(e.topic, '/', 4) = 'order'
ORDER BY e.source, e.subject, (e.data->>'rev')::int DESC, e.received_at DESC;

CREATE VIEW orders_daily AS
SELECT site, line, box, start_time::date AS day, count(*) AS orders,
    count(*) FILTER (WHERE state NOT IN ('closed', 'aborted', 'rejected', 'cancelled')) AS open,
    count(*) FILTER (WHERE state = 'closed') AS closed,
    count(*) FILTER (WHERE state IN ('aborted', 'rejected', 'cancelled')) AS given_up
FROM work_order GROUP BY site, line, box, start_time::date;

CREATE VIEW box_state AS
SELECT b.site, b.area, b.line, b.cell, b.box, b.source, s.online, s.mode, s.version, s.waiting, b.first_seen_at,
    b.last_seen_at, b.duplicates, b.out_of_order, b.repeated_numbers
FROM box b LEFT JOIN LATERAL (
    SELECT (e.data->>'online')::boolean AS online, e.data->>'mode' AS mode, e.data->>'version' AS version,
        (e.data->'outbox'->>'pending')::bigint AS waiting
    FROM event e WHERE e.source = b.source AND e.type = 'org.edge-agent.state.changed.v1'
    ORDER BY e.received_at DESC, e.time DESC LIMIT 1
) AS s ON true;

CREATE VIEW sequence_gap AS
SELECT g.site, g.line, g.box, g.source, g.first, g.last, g.last - g.first + 1 AS missing, g.since
FROM (
    SELECT b.site, b.line, b.box, b.source, lower(hole) AS first, upper(hole) - 1 AS last,
        (SELECT min(e.received_at) FROM event e WHERE e.source = b.source AND e.sequence = upper(hole)) AS since
    FROM box b, unnest(int8multirange(int8range(1, upper(b.seen))) - b.seen) AS hole
    WHERE NOT isempty(b.seen)
) AS g;
COMMENT ON VIEW sequence_gap IS 'numbers of a box that are not here; since: when a later one came';
"""


def upgrade() -> None:
    """Make all tables and views."""
    connection = op.get_bind()
    connection.exec_driver_sql(TABLES)
    connection.exec_driver_sql(VIEWS)
