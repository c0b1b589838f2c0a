-- Messages on their way, and what came of them. Moments are milliseconds since 1970.
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    -- What carries it: 'mail', or 'channel/' and the name of a webhook or chat.
    lane TEXT NOT NULL,
    -- The address as it was written, or the name of the channel.
    destination TEXT NOT NULL,
    -- The same in lower case: whose mails are counted together.
    recipient TEXT NOT NULL,
    name TEXT,
    topic TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- Text, html and event are emptied once the message is sent.
    text TEXT NOT NULL,
    html TEXT,
    thread TEXT,
    about TEXT NOT NULL,
    event TEXT NOT NULL,
    -- queued, sending, sent or failed.
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- While queued: not before. While sending: until when its holder has it. Null once it is sent or failed.
    due_at BIGINT,
    holder TEXT,
    created_at BIGINT NOT NULL,
    -- Its place among those that were queued with it.
    place BIGINT NOT NULL,
    -- When it was sent or set aside.
    done_at BIGINT,
    reason TEXT
);

CREATE INDEX outbox_due ON outbox (lane, due_at, created_at, place) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_held ON outbox (holder) WHERE holder IS NOT NULL;
CREATE INDEX outbox_failed ON outbox (done_at) WHERE state = 'failed';
CREATE INDEX outbox_recipient ON outbox (recipient, done_at);
CREATE INDEX outbox_done ON outbox (done_at) WHERE state = 'sent';

-- What has been dealt with, so that computing it again repeats nothing.
CREATE TABLE marks (
    id TEXT PRIMARY KEY,
    instance TEXT NOT NULL,
    marked_at BIGINT NOT NULL,
    -- When the instance was said to be gone.
    gone_at BIGINT
);

CREATE INDEX marks_instance ON marks (instance);
CREATE INDEX marks_gone ON marks (gone_at) WHERE gone_at IS NOT NULL;

-- Single values: when the store was made, up to where history has been followed.
CREATE TABLE state (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
