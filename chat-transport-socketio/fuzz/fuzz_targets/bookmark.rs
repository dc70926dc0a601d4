#![no_main]

use chat_core::Bookmark;

// A position as clients hand it back.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(bookmark) = text.parse::<Bookmark>()
    {
        assert_eq!(bookmark.to_string().parse(), Ok(bookmark));
    }
});
