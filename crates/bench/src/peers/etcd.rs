//! etcd: one server whose data is on this machine's disk, and clients of its JSON gateway.
//!
//! The gateway is a proxy inside the server that passes JSON on to its own gRPC port, so it is slower
//! than gRPC itself; the figures say that they went through it.

use std::io::{self, Write};
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::line::Line;
use super::server::{Packaged, Server, nonsense};
use crate::error::Error;
use crate::v1::free_address;

const ETCD: Packaged = Packaged { what: "etcd", program: "etcd", package: "etcd-server" };

/// A running server.
pub(crate) struct Etcd {
    address: SocketAddr,
    _server: Server,
}

impl Etcd {
    pub(crate) fn start() -> Result<Self, Error> {
        let address = free_address()?;
        let clients = format!("http://{address}");
        let peers = format!("http://{}", free_address()?);
        let server = ETCD.start(
            address,
            &[
                "--name",
                "bench",
                "--data-dir",
                "{}/data",
                "--listen-client-urls",
                &clients,
                "--advertise-client-urls",
                &clients,
                "--listen-peer-urls",
                &peers,
                "--initial-advertise-peer-urls",
                &peers,
                "--initial-cluster",
                &format!("bench={peers}"),
            ],
        )?;
        Ok(Self { address, _server: server })
    }

    pub(crate) fn client(&self) -> Result<Client, Error> {
        let connect = || -> io::Result<Client> {
            let mut client = Client {
                line: Line::connect(self.address)?,
                body: Vec::new(),
                lease: String::new(),
            };
            let lease = client.ask("lease/grant", &json!({ "TTL": 300 }))?;
            client.lease = lease["ID"].as_str().unwrap_or_default().to_owned();
            Ok(client)
        };
        connect().map_err(Error::kernel("connect to etcd"))
    }
}

/// One kept connection.
pub(crate) struct Client {
    line: Line,
    body: Vec<u8>,
    lease: String,
}

impl Client {
    pub(crate) fn get(&mut self, key: &str) -> io::Result<Vec<u8>> {
        self.range(key).map(|(page, _)| page)
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.ask("kv/put", &put(key, value)).map(drop)
    }

    /// Reads pages in one request and writes what becomes of them in another, all at once or not at
    /// all; how often others were faster.
    pub(crate) fn transact(
        &mut self,
        keys: &[&str],
        change: impl Fn(&mut [Vec<u8>]),
    ) -> io::Result<u64> {
        let mut retries = 0;
        loop {
            let reads: Vec<Value> = keys
                .iter()
                .map(|key| json!({ "requestRange": { "key": STANDARD.encode(key) } }))
                .collect();
            let answer = self.ask("kv/txn", &json!({ "success": reads }))?;
            let mut pages = Vec::with_capacity(keys.len());
            let mut holds = Vec::with_capacity(keys.len());
            for (at, key) in keys.iter().enumerate() {
                let (page, revision) = value(&answer["responses"][at]["response_range"])?;
                pages.push(page);
                holds.push(json!({
                    "key": STANDARD.encode(key), "target": "MOD", "modRevision": revision,
                }));
            }
            change(&mut pages);
            let writes: Vec<Value> = keys
                .iter()
                .zip(&pages)
                .map(|(key, page)| json!({ "requestPut": put(key, page) }))
                .collect();
            let answer = self.ask("kv/txn", &json!({ "compare": holds, "success": writes }))?;
            if answer["succeeded"] == true {
                return Ok(retries);
            }
            retries += 1;
        }
    }

    /// Returns the name under which the lock is to be given back.
    pub(crate) fn lock(&mut self, name: &str) -> io::Result<String> {
        let ask = json!({ "name": STANDARD.encode(name), "lease": self.lease });
        let answer = self.ask("lock/lock", &ask)?;
        answer["key"].as_str().map(str::to_owned).ok_or_else(|| nonsense("etcd", answer))
    }

    pub(crate) fn unlock(&mut self, key: &str) -> io::Result<()> {
        self.ask("lock/unlock", &json!({ "key": key })).map(drop)
    }

    fn range(&mut self, key: &str) -> io::Result<(Vec<u8>, String)> {
        let answer = self.ask("kv/range", &json!({ "key": STANDARD.encode(key) }))?;
        value(&answer)
    }

    fn ask(&mut self, what: &str, question: &Value) -> io::Result<Value> {
        let question = question.to_string();
        let length = question.len();
        let head =
            format!("POST /v3/{what} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n");
        self.line.output.extend_from_slice(head.as_bytes());
        self.line.output.write_all(question.as_bytes())?;
        self.line.flush()?;
        let status = String::from_utf8_lossy(self.line.line()?).into_owned();
        self.take_body()?;
        let answer: Value = serde_json::from_slice(&self.body)
            .map_err(|_| nonsense("etcd", String::from_utf8_lossy(&self.body)))?;
        match status.split(' ').nth(1) {
            Some("200") => Ok(answer),
            _ => Err(nonsense("etcd", answer)),
        }
    }

    /// The rest of the head, then the body: as long as announced, or in chunks.
    fn take_body(&mut self) -> io::Result<()> {
        let mut length = None;
        loop {
            let line = String::from_utf8_lossy(self.line.line()?).to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            }
        }
        if let Some(length) = length {
            return self.line.take(length, &mut self.body);
        }
        self.body.clear();
        let mut chunk = Vec::new();
        loop {
            let line = String::from_utf8_lossy(self.line.line()?).into_owned();
            let size = usize::from_str_radix(&line, 16).map_err(|_| nonsense("etcd", &line))?;
            self.line.take(size, &mut chunk)?;
            self.body.extend_from_slice(&chunk);
            self.line.end_of_line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

fn put(key: &str, value: &[u8]) -> Value {
    json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) })
}

/// The value of the first key of an answer, and the revision of its last change.
fn value(answer: &Value) -> io::Result<(Vec<u8>, String)> {
    let first = &answer["kvs"][0];
    let page = first["value"].as_str().and_then(|value| STANDARD.decode(value).ok());
    match (page, first["mod_revision"].as_str()) {
        (Some(page), Some(revision)) => Ok((page, revision.to_owned())),
        _ => Err(nonsense("etcd", answer)),
    }
}
