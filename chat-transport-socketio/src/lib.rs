//! Socket.IO 5 over Engine.IO 4 for unmodified clients, as a router for any axum application
