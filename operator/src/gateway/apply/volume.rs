//! A volume's size: never less is asked for than is there. Pure.
//!
//! Somebody, or something, else may have grown a volume, and a size that the storage class could not give may have been
//! taken back. The API server refuses a claim that shrinks.

use serde_json::Value;

use crate::api::Quantity;

const SIZE: &str = "/spec/resources/requests/storage";

/// Puts the live size into the claim that is wanted when that is larger. `live` is the claim without its metadata.
pub(super) fn keep_size(wanted: &mut Value, live: &Value) {
    let Some(there) = live.pointer(SIZE) else {
        return;
    };
    let there = there.clone();
    if let Some(size) = wanted.pointer_mut(SIZE)
        && bytes(&there) > bytes(size)
    {
        *size = there;
    }
}

fn bytes(size: &Value) -> Option<u64> {
    let text = size.as_str().map(str::to_owned);
    Quantity(text.unwrap_or_else(|| size.to_string())).bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(size: &str) -> Value {
        json!({"spec": {"resources": {"requests": {"storage": size}}}})
    }

    #[test]
    fn the_larger_size_is_asked_for() {
        for (wanted, live, asked) in [
            ("1Gi", "2Gi", "2Gi"),
            ("2Gi", "1Gi", "2Gi"),
            ("1Gi", "1.5Gi", "1.5Gi"),
            ("1Gi", "1024Mi", "1Gi"),
        ] {
            let mut body = claim(wanted);
            keep_size(&mut body, &claim(live));
            assert_eq!(body, claim(asked), "{wanted} wanted, {live} live");
        }
    }
}
