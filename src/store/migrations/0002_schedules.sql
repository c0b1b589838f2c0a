-- Up to where the schedules of Digests and Reminders have been dealt with, by the uid of the object.
CREATE TABLE schedules (
    uid TEXT PRIMARY KEY,
    -- Expression and time zone as they were then.
    schedule TEXT NOT NULL,
    -- No run up to this moment is left. Milliseconds since 1970.
    handled_until BIGINT NOT NULL
);

-- The number of each task that was open at the last run of a Digest.
CREATE TABLE seen_tasks (
    uid TEXT NOT NULL,
    task TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (uid, task)
);

-- The numbers of the tasks that the last mail of each person counted, as ranges: 1-4,9.
CREATE TABLE seen_people (
    uid TEXT NOT NULL,
    person TEXT NOT NULL,
    numbers TEXT NOT NULL,
    PRIMARY KEY (uid, person)
);
