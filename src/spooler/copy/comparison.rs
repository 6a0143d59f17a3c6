//! Whether two documents say the same, and which of two that differ is to stay.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use crate::job::{BackendConfig, Document, Status};
use crate::storage::Place;

/// What to do with a document of the target that differs from that of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// The source's replaces it.
    Replace,
    /// The target's stays, as it is the later one.
    Keep,
    /// Nobody can tell which is right: the target's stays, and this is told.
    Conflict(&'static str),
}

/// Whether two documents of one place have the same values, in the same order and of the same types of numbers.
pub(super) fn is_same(place: Place<'_>, one: &Document, other: &Document) -> bool {
    if one.text() == other.text() {
        return true;
    }
    let texts = (canonical(place, one), canonical(place, other));
    matches!(texts, (Some(one), Some(other)) if one == other)
}

/// The text of a document without the liberties that JSON leaves; none if it is no JSON.
fn canonical(place: Place<'_>, document: &Document) -> Option<String> {
    let mut value: Value = serde_json::from_slice(document.text()).ok()?;
    if place == Place::Configs {
        let is_signed = value.get("payload").is_some();
        let config = if is_signed { value.get_mut("payload")? } else { &mut value };
        // Some media keep it as a time and not as a text, and tell it to the millisecond.
        if let Some(check) = config.get_mut("last_queue_check")
            && let Some(time) = check.as_str().and_then(|text| text.parse::<Timestamp>().ok())
        {
            *check = time.as_millisecond().into();
        }
    }
    serde_json::to_string(&value).ok()
}

/// What to do where the documents of `source` and `target` are not the same.
pub(super) fn difference(place: Place<'_>, source: &Document, target: &Document) -> Difference {
    match place {
        Place::Configs => of_configurations(source, target),
        Place::Status(_) => of_statuses(source, target),
        Place::PublicKeys => Difference::Conflict("the target has another key of this id"),
        Place::Results(_) => Difference::Conflict("the target has another result"),
        Place::Queued(_) | Place::Running | Place::Finished(_) | Place::Deleted => {
            Difference::Conflict("the target has another job of this id")
        }
    }
}

fn of_configurations(source: &Document, target: &Document) -> Difference {
    let kid = |document: &Document| document.signed().map(|signed| signed.kid());
    if let Some(of_target) = kid(target)
        && kid(source) != Some(of_target)
    {
        return Difference::Conflict("the target's configuration is signed by another key");
    }
    let last_look = |document: &Document| {
        document.read::<BackendConfig>("configuration").ok().and_then(|config| config.last_queue_check)
    };
    match last_look(source).cmp(&last_look(target)) {
        Ordering::Less => Difference::Keep,
        Ordering::Equal | Ordering::Greater => Difference::Replace,
    }
}

fn of_statuses(source: &Document, target: &Document) -> Difference {
    let (Ok(from), Ok(to)) = (source.read::<Status>("status"), target.read::<Status>("status")) else {
        return Difference::Conflict("the target has another status, and one of the two cannot be read");
    };
    match (from.status.is_final(), to.status.is_final()) {
        // One of them may be signed.
        _ if from == to => Difference::Keep,
        (true, true) => Difference::Conflict("the job has another end at the target"),
        (true, false) => Difference::Replace,
        (false, _) => Difference::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;

    fn check(place: Place<'_>, one: &str, other: &str, expected: bool) {
        let documents = [one, other].map(Document::from_text);
        assert_eq!(is_same(place, &documents[0], &documents[1]), expected, "{one} and {other} at {place}");
        assert_eq!(is_same(place, &documents[1], &documents[0]), expected, "{other} and {one} at {place}");
    }

    #[test]
    fn documents_are_the_same_by_their_values() {
        check(Place::Deleted, r#"{"a": 1, "b": "\u00e4"}"#, r#"{"a":1,"b":"ä"}"#, true);
        check(Place::Deleted, "{\"a\": 1e2}", "{\"a\":100.0}", true);
        check(Place::Deleted, "not JSON", "not JSON", true);
        check(Place::Deleted, "not JSON", "not JSON ", false);
    }

    #[test]
    fn what_a_peer_could_tell_apart_is_not_the_same() {
        check(Place::Deleted, r#"{"a": 1}"#, r#"{"a": 1.0}"#, false);
        check(Place::Deleted, r#"{"a": 1, "b": 2}"#, r#"{"b": 2, "a": 1}"#, false);
        check(Place::Deleted, r#"{"a": 0.0}"#, r#"{"a": -0.0}"#, false);
    }

    #[test]
    fn a_time_is_the_same_in_any_form() {
        let config = |time: &str| format!(r#"{{"display_name": "x", "last_queue_check": "{time}"}}"#);
        let (one, other) = (config("2026-11-22T04:15:19+00:00"), config("2026-11-22T04:15:19Z"));
        check(Place::Configs, &one, &other, true);
        check(Place::Deleted, &one, &other, false);
        let signed = |text: &str| format!(r#"{{"header": {{}}, "payload": {text}, "signature": "s"}}"#);
        check(Place::Configs, &signed(&one), &signed(&other), true);
        check(Place::Configs, &one, &config("2026-11-22T04:15:20Z"), false);
    }

    #[test]
    fn a_final_status_replaces_one_that_is_not_and_stays_otherwise() {
        let (id, backend): (JobId, _) = ("a1".parse().expect("an id"), "x".parse().expect("a name"));
        let statuses = [Status::accepted(&id), Status::done(&id), Status::failed(&id, "why")];
        let [accepted, done, failed] = statuses.map(|status| Document::new(&status));
        let of = |source, target| difference(Place::Status(&backend), source, target);
        assert_eq!(of(&done, &accepted), Difference::Replace);
        assert_eq!(of(&accepted, &done), Difference::Keep);
        assert!(matches!(of(&done, &failed), Difference::Conflict(_)));
        assert!(matches!(of(&done, &Document::from_text("{")), Difference::Conflict(_)));
    }

    #[test]
    fn of_two_configurations_the_later_one_stays() {
        let config = |time: &str| {
            let golden = include_str!("../../../tests/golden/configs/fermions.json");
            let mut config: BackendConfig = serde_json::from_str(golden).expect("a configuration");
            config.last_queue_check = Some(time.parse().expect("a time"));
            Document::new(&config)
        };
        let (early, late) = (config("2026-11-22T04:00:00Z"), config("2026-11-22T05:00:00Z"));
        assert_eq!(difference(Place::Configs, &late, &early), Difference::Replace);
        assert_eq!(difference(Place::Configs, &early, &late), Difference::Keep);
        let signed = |kid: &str, document: &Document| {
            let payload = str::from_utf8(document.text()).expect("is text");
            Document::from_text(format!(r#"{{"header": {{"kid": "{kid}"}}, "payload": {payload}, "signature": "s"}}"#))
        };
        assert!(matches!(difference(Place::Configs, &late, &signed("k", &early)), Difference::Conflict(_)));
        assert!(matches!(
            difference(Place::Configs, &signed("l", &late), &signed("k", &early)),
            Difference::Conflict(_)
        ));
        assert_eq!(difference(Place::Configs, &signed("k", &late), &signed("k", &early)), Difference::Replace);
    }
}
