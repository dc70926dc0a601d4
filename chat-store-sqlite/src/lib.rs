//! SQLite backend of chat-core: one writer with group commit, many readers, WAL
