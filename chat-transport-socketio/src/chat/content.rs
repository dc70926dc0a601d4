//! The content of a post, taken out of the packet it came in: kept byte for byte, with the attachments that belong to it.

use bytes::Bytes;
use chat_core::Body;

use super::problem::{Code, Problem};
use crate::placeholder;

/// Levels of nesting. Clients in Rust parse 128 at most, and those of a packet and its event come on top.
const DEPTH_MAX: usize = 100;

/// The body of a post whose content is the JSON text `content`, in a packet with `attachments`. At most `bytes_max` bytes.
///
/// The text stays as it is, except where other arguments of the packet have attachments too: then its placeholders are counted afresh from 0.
pub(super) fn body(content: &str, attachments: &[Bytes], bytes_max: usize) -> Result<Body, Problem> {
    let used = check(content, attachments.len())?;
    let own = used.iter().filter_map(|number| attachments.get(*number));
    // Copied, since a slice keeps the whole buffer it was received in.
    let own: Vec<Bytes> = own.map(|attachment| Bytes::copy_from_slice(attachment)).collect();
    let text = if used.iter().copied().eq(0..used.len()) {
        content.to_owned()
    } else {
        let rank = |number| used.iter().position(|other| *other as u64 == number).unwrap_or(0) as u64;
        placeholder::renumber(content, rank).map_err(unsound)?
    };
    let body = Body { text: text.into(), attachments: own.into() };
    if bytes_max < body.bytes() {
        let message = format!("content has at most {bytes_max} bytes, attachments included");
        return Err(Problem::new(Code::TooLarge, message));
    }
    Ok(body)
}

/// Checks that no client stumbles over `content`, and answers which of its packet's attachments it uses, ascending.
pub(super) fn check(content: &str, attachments: usize) -> Result<Vec<usize>, Problem> {
    let used = placeholder::check(content, attachments).map_err(unsound)?;
    if DEPTH_MAX < depth(content) {
        return Err(Problem::bad_request(format!("content is nested more than {DEPTH_MAX} levels deep")));
    }
    Ok(used)
}

fn unsound(error: placeholder::PlaceholderError) -> Problem {
    Problem::bad_request(format!("content: {error}"))
}

/// How deeply a JSON text is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachments(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn content_is_kept_byte_for_byte() {
        for text in ["\"hi\"", "null", "1.50", "{\"a\" :\t[ 1e5, \"\\u0061\\ud800\" ] }", "{\"a\":1,\"a\":2}"]
        {
            assert_eq!(body(text, &[], 1000), Ok(Body::text(text)));
        }
        let text = r#"[{"num":1,"_placeholder":true}, {"_placeholder":true,"num":0}]"#;
        let all = attachments(&["zero", "one"]);
        assert_eq!(body(text, &all, 1000), Ok(Body { text: text.into(), attachments: all.into() }));
    }

    #[test]
    fn attachments_of_other_arguments_are_left_out_and_the_rest_is_counted_afresh() {
        let text = r#"{"a":{"_placeholder":true,"num":3},"b":{"_placeholder":true,"num":1}}"#;
        let body = body(text, &attachments(&["zero", "one", "two", "three"]), 1000).unwrap();
        assert_eq!(&*body.text, r#"{"a":{"_placeholder":true,"num":1},"b":{"_placeholder":true,"num":0}}"#);
        assert_eq!(*body.attachments, *attachments(&["one", "three"]));
    }

    #[test]
    fn a_placeholder_without_attachment_is_refused() {
        for (text, count) in [
            (r#"{"_placeholder":true,"num":0}"#, 0),
            (r#"[{"_placeholder":true,"num":7}]"#, 1),
            (r#"{"_placeholder":true,"num":"0"}"#, 1),
            (r#"{"_placeholder":true}"#, 0),
        ] {
            let all = attachments(&["zero", "one"]);
            assert_eq!(body(text, &all[..count], 1000).unwrap_err().code, Code::BadRequest, "{text}");
        }
    }

    #[test]
    fn attachments_count_towards_the_size() {
        assert!(body("\"12345678\"", &[], 10).is_ok());
        assert_eq!(body("\"123456789\"", &[], 10).unwrap_err().code, Code::TooLarge);
        let text = r#"{"_placeholder":true,"num":0}"#;
        assert!(body(text, &attachments(&["x"]), 30).is_ok());
        assert_eq!(body(text, &attachments(&["xy"]), 30).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn content_that_is_nested_too_deeply_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(body(&nested(DEPTH_MAX), &[], 1000).is_ok());
        assert_eq!(body(&nested(DEPTH_MAX + 1), &[], 1000).unwrap_err().code, Code::BadRequest);
        let wide = format!("[{}1]", "[[]],".repeat(100));
        assert_eq!(depth(&wide), 3);
        assert_eq!(depth(&format!(r#"["{}\"[[[", "\\", []]"#, "[".repeat(200))), 2);
    }
}
