//! Who may call: two halves, neither of which opens anything alone.
//!
//! The *grant* is random, made with its run, and stands in the path of the governor's URL, which a processor finds in its input.
//! So it stands in the run's history as well, and opens nothing without the *key* of the processor, which its owner was shown
//! once. A worker outside has a report token instead of a key.
//!
//! **Invariant:** whatever is wrong with a grant, a key, a node or a run is answered alike ([`NotAdmitted`]): who has one half
//! learns nothing of the other.

use crate::canonical::sha256_hex;
use crate::id::{InvalidId, NodeId, ProcessorKey, RunId, TenantId};
use crate::limits;
use crate::time::millis;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The one answer to whoever may not call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this key may not call for this node of this run")]
pub struct NotAdmitted;

/// The half that is made with the run.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant(String);

impl Grant {
    /// From 128 random bits.
    pub fn new(random: u128) -> Self {
        Self(format!("{random:032x}"))
    }

    /// For its place in the path, and in the store.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Grant(…)")
    }
}

impl FromStr for Grant {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_grant = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_grant.then(|| Self(text.to_owned())).ok_or(InvalidId("must be a grant: 32 lower-case hexadecimal digits"))
    }
}

impl TryFrom<String> for Grant {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.0
    }
}

/// What the path says after `/g/`: `<tenant>.<runId>.<grant>/<nodeId>/<attempt>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPath {
    pub tenant: TenantId,
    pub run_id: RunId,
    pub grant: Grant,
    pub node_id: NodeId,
    /// From 1. For the record of the call only: nothing depends on it.
    pub attempt: u32,
}

impl GrantPath {
    /// The path for a processor's input.
    pub fn write(&self) -> String {
        let Self { tenant, run_id, grant, node_id, attempt } = self;
        format!("{}/{node_id}/{attempt}", pass_text(tenant, *run_id, grant))
    }

    /// Reads the path up to its attempt, and gives what comes after it: the operation's own path, with its slash.
    ///
    /// # Errors
    /// [`NotAdmitted`] for what is no such path.
    pub fn read(path: &str) -> Result<(Self, &str), NotAdmitted> {
        let mut parts = path.splitn(3, '/');
        let (pass, node_id, rest) = (parts.next(), parts.next(), parts.next());
        let (Some(pass), Some(node_id), Some(rest)) = (pass, node_id, rest) else { return Err(NotAdmitted) };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (attempt, after) = rest.split_at(digits);
        if !(after.is_empty() || after.starts_with('/')) || attempt.starts_with('0') {
            return Err(NotAdmitted);
        }
        // A tenant's id may have dots of its own, the other two have none.
        let mut halves = pass.rsplitn(3, '.');
        let (grant, run_id, tenant) = (halves.next(), halves.next(), halves.next());
        let (Some(grant), Some(run_id), Some(tenant)) = (grant, run_id, tenant) else { return Err(NotAdmitted) };
        let path = Self {
            tenant: tenant.parse().map_err(|_| NotAdmitted)?,
            run_id: run_id.parse().map_err(|_| NotAdmitted)?,
            grant: grant.parse().map_err(|_| NotAdmitted)?,
            node_id: node_id.parse().map_err(|_| NotAdmitted)?,
            attempt: attempt.parse().map_err(|_| NotAdmitted)?,
        };
        Ok((path, after))
    }
}

/// What the path has of the run: `<tenant>.<runId>.<grant>`.
pub(super) fn pass_text(tenant: &TenantId, run_id: RunId, grant: &Grant) -> String {
    format!("{tenant}.{run_id}.{}", grant.reveal())
}

/// Who holds the other half.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A processor, by one of its keys.
    Processor(ProcessorKey),
    /// A worker outside, by a report token for the run, or for the node.
    Worker,
}

/// Both halves, as far as they could be told from the request and from the keys: the run's ledger says whether they fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    pub grant: Grant,
    pub holder: Holder,
    pub node_id: NodeId,
}

/// The text of a processor's key: `spk.<processor key>.<secret>`. The processor says where to look; only the hash of the whole
/// text lets anybody in.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyText(…)")
    }
}

impl KeyText {
    const PREFIX: &'static str = "spk";
    /// Bytes of a text at most: a key of 64 characters and a secret.
    const MOST_BYTES: usize = 256;

    /// A key of `processor`, from 256 random bits.
    pub fn new(processor: &ProcessorKey, random: [u128; 2]) -> Self {
        let [high, low] = random;
        Self(format!("{}.{processor}.{high:032x}{low:032x}", Self::PREFIX))
    }

    /// The key and its processor.
    ///
    /// # Errors
    /// [`NotAdmitted`] for what is no key of ours.
    pub fn read(text: &str) -> Result<(Self, ProcessorKey), NotAdmitted> {
        if text.len() > Self::MOST_BYTES {
            return Err(NotAdmitted);
        }
        let [prefix, processor, secret] = text.split('.').collect::<Vec<_>>()[..] else { return Err(NotAdmitted) };
        if prefix != Self::PREFIX || secret.is_empty() {
            return Err(NotAdmitted);
        }
        let processor = processor.parse().map_err(|_| NotAdmitted)?;
        Ok((Self(text.to_owned()), processor))
    }

    pub fn hash(&self) -> String {
        sha256_hex(&[&self.0])
    }

    /// For its first and only showing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What is kept of a key: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyHead {
    /// SHA-256 of the key's text.
    pub hash: String,
    pub created_by: String,
    #[serde(with = "millis")]
    pub created_at: Timestamp,
}

impl KeyHead {
    /// What operators call it by: the beginning of its hash.
    pub fn id(&self) -> &str {
        self.hash.get(..16).unwrap_or(&self.hash)
    }
}

/// The keys of a processor that are alive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorKeys {
    /// The oldest first.
    pub alive: Vec<KeyHead>,
    /// Their optimistic lock: 0 where there never was one.
    pub rev: u64,
}

/// As many keys are alive as may be: one has to be deleted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} keys of this processor are alive, as many as may be: delete one first", limits::PROCESSOR_ALIVE_KEYS)]
pub struct TooManyKeys;

impl ProcessorKeys {
    /// The keys with a new one.
    ///
    /// # Errors
    /// [`TooManyKeys`].
    pub fn with(&self, key: KeyHead) -> Result<Self, TooManyKeys> {
        if self.alive.len() >= limits::PROCESSOR_ALIVE_KEYS {
            return Err(TooManyKeys);
        }
        let alive = self.alive.iter().cloned().chain([key]).collect();
        Ok(Self { alive, rev: self.rev + 1 })
    }

    /// The keys without the one with this id; `None` where there is none.
    pub fn without(&self, id: &str) -> Option<Self> {
        let alive: Vec<_> = self.alive.iter().filter(|key| key.id() != id).cloned().collect();
        (alive.len() < self.alive.len()).then_some(Self { alive, rev: self.rev + 1 })
    }

    pub fn admits(&self, key: &KeyText) -> bool {
        let hash = key.hash();
        self.alive.iter().any(|alive| alive.hash == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn path(tenant: &str) -> GrantPath {
        GrantPath {
            tenant: tenant.parse().expect("a tenant"),
            run_id: RunId(Uuid::from_u128(7)),
            grant: Grant::new(0xabc),
            node_id: "work".parse().expect("a node"),
            attempt: 2,
        }
    }

    #[test]
    fn a_path_is_read_as_it_was_written() {
        for tenant in ["acme", "a.b", "123456789012", "..", "me@x.org:1"] {
            let path = path(tenant);
            let written = path.write();
            assert_eq!(GrantPath::read(&written), Ok((path.clone(), "")));
            let operation = format!("{written}/model/a.b/converse");
            assert_eq!(GrantPath::read(&operation), Ok((path, "/model/a.b/converse")));
        }
        assert_eq!(
            path("acme").write(),
            "acme.00000000-0000-0000-0000-000000000007.00000000000000000000000000000abc/work/2"
        );
    }

    #[test]
    fn any_other_path_is_refused_alike() {
        let good = path("acme").write();
        let without = |part: &str| good.replacen(part, "", 1);
        for bad in [
            String::new(),
            "/".to_owned(),
            without("acme"),
            without("acme."),
            without("/2"),
            without("2"),
            without("work"),
            good.to_uppercase(),
            good.replace("abc", "abg"),
            good.replace("/2", "/0"),
            good.replace("/2", "/02"),
            good.replace("/2", "/2x"),
            good.replace("/2", "/-2"),
            good.replace("/2", "/4294967296"),
            format!("/{good}"),
        ] {
            assert_eq!(GrantPath::read(&bad), Err(NotAdmitted), "{bad}");
        }
    }

    #[test]
    fn a_key_names_its_processor_and_hides_itself() {
        let processor: ProcessorKey = "my-step".parse().expect("a key");
        let key = KeyText::new(&processor, [1, 2]);
        assert!(key.reveal().starts_with("spk.my-step.0000"));
        assert_eq!(KeyText::read(key.reveal()), Ok((key.clone(), processor)));
        assert_eq!(format!("{key:?} {:?}", Grant::new(1)), "KeyText(…) Grant(…)");
        for text in ["", "spk", "spk..s", "spk.a.", "spk.a.b.c", "srt.a.b", "spk.a b.c", "spk.ä.b"] {
            assert_eq!(KeyText::read(text), Err(NotAdmitted), "{text}");
        }
        assert_eq!(KeyText::read(&format!("spk.a.{}", "0".repeat(300))), Err(NotAdmitted));
    }

    #[test]
    fn two_keys_are_alive_and_each_opens_until_it_is_deleted() {
        let processor: ProcessorKey = "my-step".parse().expect("a key");
        let texts = [1, 2, 3].map(|secret| KeyText::new(&processor, [0, secret]));
        let head = |text: &KeyText| KeyHead {
            hash: text.hash(),
            created_by: "someone".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        let none = ProcessorKeys::default();
        let one = none.with(head(&texts[0])).expect("room");
        let two = one.with(head(&texts[1])).expect("room");
        assert_eq!(two.with(head(&texts[2])), Err(TooManyKeys));
        let opens = |keys: &ProcessorKeys| texts.each_ref().map(|text| keys.admits(text));
        assert_eq!((opens(&none), opens(&one), opens(&two)), ([false; 3], [true, false, false], [true, true, false]));
        let later = two.without(head(&texts[0]).id()).expect("it is there");
        assert_eq!((opens(&later), later.rev), ([false, true, false], 3));
        assert_eq!(later.without(head(&texts[0]).id()), None);
        assert!(opens(&later.with(head(&texts[2])).expect("room"))[2]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in "\\PC{0,200}|[a-f0-9./-]{0,200}") {
            if let Ok((path, rest)) = GrantPath::read(&text) {
                prop_assert_eq!(format!("{}{rest}", path.write()), text.clone());
            }
            if let Ok((key, _)) = KeyText::read(&text) {
                prop_assert_eq!(key.reveal(), &text);
            }
        }
    }
}
