//! What shipping promises, against a real server.
