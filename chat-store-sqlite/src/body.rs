//! How attachments are stored: one blob, each attachment preceded by its length in bytes (4 bytes, little-endian); NULL if there are none.

use std::sync::Arc;

use bytes::{Buf, Bytes};

/// `None` if there are none. Each is shorter than 4 GiB: bodies are limited far below.
pub(crate) fn join(attachments: &[Bytes]) -> Option<Vec<u8>> {
    if attachments.is_empty() {
        return None;
    }
    let mut blob = Vec::with_capacity(attachments.iter().map(|each| 4 + each.len()).sum());
    for each in attachments {
        let length = u32::try_from(each.len()).expect("bodies are limited to 512 MiB");
        blob.extend_from_slice(&length.to_le_bytes());
        blob.extend_from_slice(each);
    }
    Some(blob)
}

/// The attachments that [`join`] has joined; `None` if it has not.
pub(crate) fn split(blob: Option<Vec<u8>>) -> Option<Arc<[Bytes]>> {
    let mut rest = Bytes::from(blob.unwrap_or_default());
    let mut attachments = Vec::new();
    while !rest.is_empty() {
        let length = rest.try_get_u32_le().ok()? as usize;
        if rest.len() < length {
            return None;
        }
        attachments.push(rest.split_to(length));
    }
    Some(attachments.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_come_back_byte_for_byte_also_empty_ones() {
        for attachments in [vec![], vec![Bytes::new()], vec![Bytes::from_static(&[0, 255]), Bytes::new()]] {
            assert_eq!(split(join(&attachments)).as_deref(), Some(attachments.as_slice()));
        }
    }

    #[test]
    fn a_damaged_blob_is_refused() {
        for blob in [vec![1], vec![2, 0, 0, 0, 7], vec![255, 255, 255, 255]] {
            assert_eq!(split(Some(blob)), None);
        }
    }
}
