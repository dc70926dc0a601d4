//! Chat that behaves: durable rooms, exactly-once posts and offset replay, without network or disk
