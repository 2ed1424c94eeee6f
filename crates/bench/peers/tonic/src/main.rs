//! tonic (gRPC) as a task system: `server` is a worker, `client` sends it tasks and times them.
//!
//! Plain-text HTTP/2 on loopback, one thread a process, unary calls of one `bytes` field. Messages
//! and service are written by hand as protoc would generate them, so the build needs no protoc.
//! The client takes one command a line on stdin and answers with one line of nanoseconds:
//!
//! ```text
//! latency CALLS BYTES             one call at a time to the first server; one number a call
//! rate CALLS IN_FLIGHT BYTES      spread over all servers; one number for all calls together
//! ```
//!
//! Both processes end when their stdin does, so nothing outlives a benchmark that died.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, Ready, ready};
use std::io::{BufRead, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Windows wide enough that 8 calls of 1 MiB never wait for an update.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
const MESSAGE_MAX: usize = 64 << 20;
const CALL: &str = "/bench.Bench/Call";

#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.split_first() {
        Some((role, [])) if role == "server" => runtime.block_on(serve()),
        Some((role, servers)) if role == "client" && !servers.is_empty() => {
            let clients = runtime.block_on(connect(servers))?;
            obey(&runtime, &clients)
        }
        _ => Err("usage: server | client ADDR...".into()),
    }
}

/// Echoes until stdin ends. The first line printed is the address.
async fn serve() -> Outcome<()> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    println!("{}", incoming.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(Echo)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

/// The service as protoc's plug-in would write it, with its only method.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.Bench";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Payload, Payload>::default())
                .max_decoding_message_size(MESSAGE_MAX)
                .max_encoding_message_size(MESSAGE_MAX);
            Ok(grpc.unary(Echo, request).await)
        })
    }
}

impl UnaryService<Payload> for Echo {
    type Response = Payload;
    type Future = Ready<Result<Response<Payload>, Status>>;

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

async fn connect(servers: &[String]) -> Outcome<Vec<Grpc<Channel>>> {
    let mut clients = Vec::new();
    for server in servers {
        let channel = Endpoint::from_shared(format!("http://{server}"))?
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect()
            .await?;
        clients.push(
            Grpc::new(channel)
                .max_decoding_message_size(MESSAGE_MAX)
                .max_encoding_message_size(MESSAGE_MAX),
        );
    }
    Ok(clients)
}

fn obey(runtime: &tokio::runtime::Runtime, clients: &[Grpc<Channel>]) -> Outcome<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (verb, numbers) = line.split_once(' ').ok_or("a command without numbers")?;
        let numbers: Vec<usize> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let answer = match (verb, numbers.as_slice()) {
            ("latency", &[calls, bytes]) => runtime.block_on(latency(&clients[0], calls, bytes))?,
            ("rate", &[calls, in_flight, bytes]) => {
                vec![runtime.block_on(rate(clients, calls, in_flight, bytes))?]
            }
            _ => return Err(format!("no such command: {line}").into()),
        };
        let words: Vec<String> = answer.iter().map(u64::to_string).collect();
        println!("{}", words.join(" "));
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn latency(client: &Grpc<Channel>, calls: usize, bytes: usize) -> Outcome<Vec<u64>> {
    let mut client = client.clone();
    let mut nanoseconds = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        call(&mut client, bytes).await?;
        nanoseconds.push(start.elapsed().as_nanos() as u64);
    }
    Ok(nanoseconds)
}

async fn rate(
    clients: &[Grpc<Channel>],
    calls: usize,
    in_flight: usize,
    bytes: usize,
) -> Outcome<u64> {
    let start = Instant::now();
    stream::iter(0..calls)
        .map(|index| {
            let mut client = clients[index % clients.len()].clone();
            async move { call(&mut client, bytes).await }
        })
        .buffer_unordered(in_flight)
        .try_for_each(|()| ready(Ok(())))
        .await?;
    Ok(start.elapsed().as_nanos() as u64)
}

async fn call(client: &mut Grpc<Channel>, bytes: usize) -> Result<(), Status> {
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let request = Request::new(Payload { data: vec![3; bytes] });
    let path = PathAndQuery::from_static(CALL);
    let codec = ProstCodec::<Payload, Payload>::default();
    let answer = client.unary(request, path, codec).await?;
    match answer.into_inner().data.len() == bytes {
        true => Ok(()),
        false => Err(Status::data_loss("the answer is not as long as the input")),
    }
}
