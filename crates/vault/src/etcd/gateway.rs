//! Talks to etcd: its official JSON gateway, over HTTP, one blocking call after the other.
//!
//! A call that fails may have been carried out: whoever changes something must be able to tell.
//! Members are tried in turn, beginning with the one that answered last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use serde_json::{Value, json};

/// One member may take so long before the next is asked: longer than any healthy one takes, and shorter
/// than a lease.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Bytes of an answer: more than a range of the largest pages.
const ANSWER_MAX: u64 = 64 << 20;

#[derive(Debug)]
pub(crate) struct Gateway {
    endpoints: Vec<String>,
    agent: ureq::Agent,
    /// Which of them answered last.
    latest: AtomicUsize,
}

/// Why there is no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No member answered, or none that has a majority with it: it may be better soon.
    #[error(
        "etcd does not answer: {0}; see that a majority of its members is up and reachable from here"
    )]
    Silent(String),
    /// It will not do this, however often it is asked.
    #[error("etcd refuses: {text} (code {code}); {}", remedy(*code))]
    Refused { code: u64, text: String },
}

/// Codes of gRPC, as etcd uses them.
const NOT_FOUND: u64 = 5;
const PERMISSION_DENIED: u64 = 7;
const RESOURCE_EXHAUSTED: u64 = 8;
const OUT_OF_RANGE: u64 = 11;
const UNAUTHENTICATED: u64 = 16;
/// Those that say nothing of what was asked: cancelled, unknown, too late, aborted, internal,
/// unavailable.
const PASSING: [u64; 6] = [1, 2, 4, 10, 13, 14];

fn remedy(code: u64) -> &'static str {
    match code {
        RESOURCE_EXHAUSTED => {
            "let it compact by itself, defragment it and disarm its alarm, as docs/durability.md says"
        }
        PERMISSION_DENIED | UNAUTHENTICATED => "let this node read and write under `farcall/`",
        _ => "see the log of its members",
    }
}

impl Failure {
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Silent(_))
    }

    /// The lease that was named is over.
    pub(crate) fn is_without_lease(&self) -> bool {
        matches!(self, Self::Refused { code: NOT_FOUND, .. })
    }

    /// What was to be read is from before what etcd remembers.
    pub(crate) fn is_compacted(&self) -> bool {
        matches!(self, Self::Refused { code: OUT_OF_RANGE, .. })
    }
}

/// What a member says when it does not do what it was asked.
#[derive(Debug, Deserialize)]
struct Complaint {
    code: u64,
    #[serde(default)]
    message: String,
}

/// A key and what is under it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Pair {
    #[serde(default, deserialize_with = "bytes")]
    pub(crate) key: Vec<u8>,
    #[serde(default, deserialize_with = "bytes")]
    pub(crate) value: Vec<u8>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) create_revision: i64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) mod_revision: i64,
}

#[derive(Debug, Default, Deserialize)]
struct Header {
    #[serde(default, deserialize_with = "number")]
    revision: i64,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Range {
    #[serde(default)]
    header: Header,
    #[serde(default)]
    pub(crate) kvs: Vec<Pair>,
    #[serde(default)]
    pub(crate) more: bool,
}

impl Range {
    pub(crate) fn revision(&self) -> i64 {
        self.header.revision
    }
}

#[derive(Debug, Deserialize)]
struct TxnAnswer {
    #[serde(default)]
    header: Header,
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Debug, Deserialize)]
struct Response {
    #[serde(default)]
    response_range: Option<Range>,
}

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Txn {
    /// Carried out, at this revision.
    Done(i64),
    /// Not carried out: what is under the keys that were to be read then.
    Not(Vec<Range>),
}

#[derive(Debug, Deserialize)]
struct Granted {
    #[serde(rename = "ID", default, deserialize_with = "number")]
    id: i64,
    #[serde(rename = "TTL", default, deserialize_with = "number")]
    ttl: i64,
}

#[derive(Debug, Deserialize)]
struct Renewed {
    result: Granted,
}

impl Gateway {
    pub(crate) fn new(endpoints: Vec<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self { endpoints, agent: config.into(), latest: AtomicUsize::new(0) }
    }

    /// Keys from `first` to before `end` (none: this key alone) as of a revision (0: now).
    pub(crate) fn range(
        &self,
        first: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        revision: i64,
    ) -> Result<Range, Failure> {
        let mut ask = json!({ "key": text(first), "limit": limit, "revision": revision });
        if let Some(end) = end {
            ask["range_end"] = text(end);
        }
        self.call("/v3/kv/range", &ask)
    }

    pub(crate) fn txn(
        &self,
        compare: Vec<Value>,
        success: Vec<Value>,
        failure: Vec<Value>,
    ) -> Result<Txn, Failure> {
        let ask = json!({ "compare": compare, "success": success, "failure": failure });
        let answer: TxnAnswer = self.call("/v3/kv/txn", &ask)?;
        if answer.succeeded {
            return Ok(Txn::Done(answer.header.revision));
        }
        let ranges = answer.responses.into_iter().map(|r| r.response_range.unwrap_or_default());
        Ok(Txn::Not(ranges.collect()))
    }

    /// A lease, and how long it lasts.
    pub(crate) fn grant(&self, wanted: Duration) -> Result<(i64, Duration), Failure> {
        let granted: Granted = self.call("/v3/lease/grant", &json!({ "TTL": wanted.as_secs() }))?;
        Ok((granted.id, seconds(granted.ttl)))
    }

    /// How long it lasts from now on: nothing if it is over.
    pub(crate) fn renew(&self, lease: i64) -> Result<Duration, Failure> {
        let ask = json!({ "ID": lease });
        let renewed: Renewed = self.call("/v3/lease/keepalive", &ask)?;
        Ok(seconds(renewed.result.ttl))
    }

    pub(crate) fn revoke(&self, lease: i64) -> Result<(), Failure> {
        self.call::<Value>("/v3/lease/revoke", &json!({ "ID": lease })).map(drop)
    }

    fn call<T: for<'a> Deserialize<'a>>(&self, path: &str, ask: &Value) -> Result<T, Failure> {
        let body = ask.to_string();
        let first = self.latest.load(Ordering::Relaxed);
        let mut why = String::new();
        for turn in 0..self.endpoints.len() {
            let at = (first + turn) % self.endpoints.len();
            match self.ask(&self.endpoints[at], path, &body) {
                Ok(answer) => {
                    self.latest.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(Failure::Silent(error)) => {
                    let comma = if why.is_empty() { "" } else { ", " };
                    why += &format!("{comma}{}: {error}", self.endpoints[at]);
                }
                // Another would refuse it too.
                Err(refused) => return Err(refused),
            }
        }
        Err(Failure::Silent(why))
    }

    fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        endpoint: &str,
        path: &str,
        body: &str,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let url = format!("{endpoint}{path}");
        let sent = self.agent.post(&url).header("content-type", "application/json").send(body);
        let mut answer = sent.map_err(|error| Failure::Silent(error.to_string()))?;
        let bytes = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        let bytes = bytes
            .map_err(|error| Failure::Silent(format!("{error} after {:?}", begun.elapsed())))?;
        if answer.status() != 200 {
            return Err(complaint(answer.status().as_u16(), &bytes));
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Silent(format!("no answer of etcd's: {error}")))
    }
}

/// Of an answer that is none.
fn complaint(status: u16, bytes: &[u8]) -> Failure {
    let printable =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(200).collect() };
    match serde_json::from_slice::<Complaint>(bytes) {
        // It has that code too where it only has too much to do.
        Ok(Complaint { code, message })
            if !PASSING.contains(&code) && !message.contains("too many requests") =>
        {
            Failure::Refused { code, text: printable(&message) }
        }
        _ => Failure::Silent(format!("{status} {}", printable(&String::from_utf8_lossy(bytes)))),
    }
}

/// Conditions and operations of transactions.
pub(crate) fn created_at(key: &[u8], revision: i64) -> Value {
    let revision = revision.to_string();
    json!({ "key": text(key), "target": "CREATE", "result": "EQUAL", "create_revision": revision })
}

pub(crate) fn changed_at(key: &[u8], revision: i64) -> Value {
    let revision = revision.to_string();
    json!({ "key": text(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision })
}

pub(crate) fn put(key: &[u8], value: &[u8]) -> Value {
    json!({ "request_put": { "key": text(key), "value": text(value) } })
}

pub(crate) fn put_leased(key: &[u8], value: &[u8], lease: i64) -> Value {
    let lease = lease.to_string();
    json!({ "request_put": { "key": text(key), "value": text(value), "lease": lease } })
}

/// Keys from `first` to before `end`.
pub(crate) fn delete(first: &[u8], end: &[u8]) -> Value {
    json!({ "request_delete_range": { "key": text(first), "range_end": text(end) } })
}

pub(crate) fn get(key: &[u8]) -> Value {
    json!({ "request_range": { "key": text(key) } })
}

fn text(bytes: &[u8]) -> Value {
    Value::String(STANDARD.encode(bytes))
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

fn bytes<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(de::Error::custom)
}

/// The gateway writes 64-bit numbers as texts.
fn number<'a, D: Deserializer<'a>>(from: D) -> Result<i64, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => text.parse().map_err(de::Error::custom),
        Value::Number(number) => number.as_i64().ok_or_else(|| de::Error::custom("too large")),
        _ => Err(de::Error::custom("no number")),
    }
}
