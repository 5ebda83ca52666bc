-- Two organisations with 400 people and 40,000 invoices, the same at every start.
CREATE TABLE organisation (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE user (id TEXT PRIMARY KEY, name TEXT NOT NULL, suspended INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
-- A role may include another one, with all that it permits.
CREATE TABLE role (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, includes INTEGER REFERENCES role);
-- What one role denies, no other one grants.
CREATE TABLE role_permission (
    role INTEGER NOT NULL REFERENCES role, permission TEXT NOT NULL, denied INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (role, permission)
) WITHOUT ROWID;
-- Until when, in seconds since 1970: NULL for one that does not end.
CREATE TABLE membership (
    organisation TEXT NOT NULL REFERENCES organisation, user TEXT NOT NULL REFERENCES user,
    role INTEGER NOT NULL REFERENCES role, until INTEGER, PRIMARY KEY (organisation, user, role)
) WITHOUT ROWID;
CREATE TABLE removal (
    id INTEGER PRIMARY KEY, organisation TEXT NOT NULL, user TEXT NOT NULL, removed_by TEXT NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch())
);
CREATE TABLE invoice (
    id INTEGER PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisation, customer TEXT NOT NULL,
    cents INTEGER NOT NULL, due TEXT NOT NULL, paid INTEGER NOT NULL
);

INSERT INTO organisation VALUES ('acme', 'Acme Kettles'), ('globex', 'Globex Lamps');

INSERT INTO role VALUES (1, 'reader', NULL), (2, 'clerk', 1), (3, 'administrator', 2), (4, 'on probation', NULL);
INSERT INTO role_permission VALUES
    (1, 'invoice:read', 0), (2, 'invoice:write', 0), (3, 'member:remove', 0), (3, 'authorization:check', 0),
    (4, 'invoice:write', 1);

INSERT INTO user (id, name) VALUES ('alice', 'Alice'), ('bob', 'Bob'), ('carol', 'Carol'), ('dave', 'Dave');
-- Carol replaces somebody for an hour, Dave does not write invoices yet.
INSERT INTO membership VALUES
    ('acme', 'alice', 3, NULL), ('acme', 'bob', 2, NULL), ('acme', 'carol', 1, unixepoch() + 3600),
    ('acme', 'dave', 2, NULL), ('acme', 'dave', 4, NULL), ('globex', 'dave', 3, NULL);

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
INSERT INTO user (id, name) SELECT 'user-' || i, 'No. ' || i FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
INSERT INTO membership SELECT iif(i % 2, 'acme', 'globex'), 'user-' || i, 1 + (i % 10 = 0), NULL FROM n;

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO invoice
SELECT i, iif(i % 2, 'acme', 'globex'), 'customer ' || (i * 7919 % 200), 500 + i * 104729 % 90000,
    date('2025-01-01', '+' || (i % 500) || ' days'), i * 31 % 101 % 5 > 0
FROM n;
CREATE INDEX invoice_of ON invoice (organisation, paid);
