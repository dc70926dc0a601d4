#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chat_transport_socketio::fuzzing::hello(data));
