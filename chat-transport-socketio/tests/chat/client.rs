//! A Socket.IO client, as small as the tests can do with: WebSocket only, and everything it receives is kept in order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::server::Server;

/// No wait in these tests is meant to come near to it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    received: VecDeque<Received>,
    /// Events about people, which come whenever somebody comes or goes: most tests are not about them.
    notices: VecDeque<(String, Value)>,
    next_ack: u64,
    /// What came with CONNECT.
    pub(crate) welcome: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    Event {
        name: String,
        args: Vec<Value>,
        raw: String,
        attachments: Vec<Bytes>,
    },
    Ack {
        id: u64,
        args: Vec<Value>,
        raw: String,
        attachments: Vec<Bytes>,
    },
    /// CONNECT, once more: see [`Client::come_again`].
    Connected,
    /// The server has thrown it out.
    Disconnected,
}

/// How a connection attempt ended.
pub(crate) enum Attempt {
    Connected(Box<Client>),
    /// CONNECT_ERROR, with its payload.
    Refused(Value),
    /// The transport was closed without a word.
    Closed,
}

impl Client {
    /// In the tutorial's protocol.
    pub(crate) async fn tutorial(server: &Server) -> Self {
        Self::connect(server, json!({})).await
    }

    /// In the full protocol, in these rooms.
    pub(crate) async fn full(server: &Server, rooms: Value) -> Self {
        Self::connect(server, json!({ "rooms": rooms })).await
    }

    pub(crate) async fn connect(server: &Server, auth: Value) -> Self {
        match Self::attempt(server, &auth.to_string()).await {
            Attempt::Connected(client) => *client,
            Attempt::Refused(error) => panic!("refused: {error}"),
            Attempt::Closed => panic!("closed"),
        }
    }

    pub(crate) async fn refused(server: &Server, auth: &str) -> Value {
        match Self::attempt(server, auth).await {
            Attempt::Refused(error) => error,
            Attempt::Connected(_) => panic!("let in with {auth}"),
            Attempt::Closed => panic!("closed with {auth}"),
        }
    }

    pub(crate) async fn attempt(server: &Server, auth: &str) -> Attempt {
        let stream = TcpStream::connect(server.address).await.unwrap();
        Self::handshake(stream, auth).await
    }

    /// With a small receive buffer, so that what a peer that does not read has in the kernel is small too.
    pub(crate) async fn small(server: &Server, auth: &Value) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        match Self::handshake(stream, &auth.to_string()).await {
            Attempt::Connected(client) => *client,
            _ => panic!("not let in"),
        }
    }

    async fn handshake(stream: TcpStream, auth: &str) -> Attempt {
        let address = stream.peer_addr().unwrap();
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = client_async(url.into_client_request().unwrap(), stream).await.unwrap();
        let mut client = Self {
            socket,
            received: VecDeque::new(),
            notices: VecDeque::new(),
            next_ack: 0,
            welcome: Value::Null,
        };
        assert!(client.message().await.unwrap().to_text().unwrap().starts_with('0'));
        client.write(Message::text(format!("40{auth}"))).await;
        match client.message().await {
            None => Attempt::Closed,
            Some(message) => match message.to_text().unwrap().split_at(2) {
                ("40", welcome) => {
                    client.welcome = serde_json::from_str(welcome).unwrap();
                    Attempt::Connected(Box::new(client))
                }
                ("44", error) => Attempt::Refused(serde_json::from_str(error).unwrap()),
                other => panic!("{other:?}"),
            },
        }
    }

    /// Sends an event whose arguments are JSON texts, with attachments, with or without the wish for an answer.
    pub(crate) async fn send(&mut self, name: &str, args: &[&str], attachments: &[&[u8]], ack: Option<u64>) {
        let mut json = vec![Value::from(name).to_string()];
        json.extend(args.iter().map(|arg| (*arg).to_owned()));
        let ack = ack.map(|id| id.to_string()).unwrap_or_default();
        let kind = if attachments.is_empty() { "42".to_owned() } else { format!("45{}-", attachments.len()) };
        self.write(Message::text(format!("{kind}{ack}[{}]", json.join(",")))).await;
        for attachment in attachments {
            self.write(Message::binary(attachment.to_vec())).await;
        }
    }

    /// Sends an event and does not wait.
    pub(crate) async fn emit(&mut self, name: &str, args: &[Value]) {
        let args: Vec<String> = args.iter().map(Value::to_string).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.send(name, &args, &[], None).await;
    }

    /// Sends a request without waiting; the answer comes under the id that is returned.
    pub(crate) async fn request(&mut self, name: &str, args: &[&str], attachments: &[&[u8]]) -> u64 {
        let id = self.next_ack;
        self.next_ack += 1;
        self.send(name, args, attachments, Some(id)).await;
        id
    }

    /// Sends a request of one argument and waits for the answer.
    pub(crate) async fn ask(&mut self, name: &str, arg: Value) -> Value {
        self.ask_raw(name, &[&arg.to_string()], &[]).await.0
    }

    /// The same for several arguments in JSON, with attachments both ways.
    pub(crate) async fn ask_raw(
        &mut self,
        name: &str,
        args: &[&str],
        attachments: &[&[u8]],
    ) -> (Value, Vec<Bytes>) {
        let id = self.request(name, args, attachments).await;
        self.answer(id).await
    }

    /// `chat message` with an id, answered.
    pub(crate) async fn say(&mut self, content: &str, client_offset: &str) -> Value {
        let args = [Value::from(content).to_string(), Value::from(client_offset).to_string()];
        self.ask_raw("chat message", &[&args[0], &args[1]], &[]).await.0
    }

    /// The answer to a request; events that come before it stay in the queue.
    pub(crate) async fn answer(&mut self, id: u64) -> (Value, Vec<Bytes>) {
        let (mut args, _, attachments) = self.ack(id).await;
        assert_eq!(args.len(), 1, "one reply");
        (args.remove(0), attachments)
    }

    /// The same as the JSON text that came.
    pub(crate) async fn raw_answer(&mut self, id: u64) -> String {
        self.ack(id).await.1
    }

    async fn ack(&mut self, wanted: u64) -> (Vec<Value>, String, Vec<Bytes>) {
        loop {
            let is_it = |received: &Received| matches!(received, Received::Ack { id, .. } if *id == wanted);
            let found = self.received.iter().position(is_it);
            if let Some(Received::Ack { args, raw, attachments, .. }) =
                found.and_then(|index| self.received.remove(index))
            {
                return (args, raw, attachments);
            }
            assert!(self.receive().await, "closed before the answer");
        }
    }

    /// Whether the answer to a request has come.
    pub(crate) fn has_answer(&self, wanted: u64) -> bool {
        self.received.iter().any(|received| matches!(received, Received::Ack { id, .. } if *id == wanted))
    }

    /// The next packet of any kind.
    pub(crate) async fn next(&mut self) -> Received {
        while self.received.is_empty() {
            assert!(self.receive().await, "closed");
        }
        self.received.pop_front().unwrap()
    }

    /// The next event about people: its name and its argument.
    pub(crate) async fn notice(&mut self) -> (String, Value) {
        while self.notices.is_empty() {
            assert!(self.receive().await, "closed");
        }
        self.notices.pop_front().unwrap()
    }

    /// The events about people up to now: what came before the answer to a request.
    pub(crate) async fn notices(&mut self) -> Vec<(String, Value)> {
        self.ask("unheard of", json!({})).await;
        self.notices.drain(..).collect()
    }

    /// The next packet that says more than where the client is: an event of that name, and its first argument.
    pub(crate) async fn expect(&mut self, expected: &str) -> Value {
        loop {
            match self.next().await {
                Received::Event { name, .. } if name == "position" => {}
                Received::Event { name, mut args, .. } if name == expected => return args.remove(0),
                other => panic!("expected {expected}: {other:?}"),
            }
        }
    }

    /// The next packet, which is a `chat message`: content and offset.
    pub(crate) async fn heard(&mut self) -> (Value, u64) {
        match self.next().await {
            Received::Event { name, args, .. } if name == "chat message" && args.len() == 2 => {
                (args[0].clone(), args[1].as_u64().unwrap())
            }
            other => panic!("expected a chat message: {other:?}"),
        }
    }

    /// Everything up to the mark that `Server::end` sets, which is what there is.
    pub(crate) async fn rest(&mut self) -> Vec<Received> {
        let mut rest = Vec::new();
        loop {
            match self.next().await {
                Received::Event { raw, .. } if raw.contains("\"the end\"") => return rest,
                other => rest.push(other),
            }
        }
    }

    /// Leaves the namespace and enters it again on the same connection, without waiting for the answer.
    pub(crate) async fn come_again(&mut self, auth: Value) {
        self.write(Message::text("41")).await;
        self.write(Message::text(format!("40{auth}"))).await;
    }

    /// What is under it, for one who wants to send and to receive at a time.
    pub(crate) fn into_socket(self) -> WebSocketStream<TcpStream> {
        self.socket
    }

    /// Leaves without a word.
    pub(crate) fn cut(self) {
        drop(self);
    }

    /// Takes in one packet; false: the connection is closed.
    async fn receive(&mut self) -> bool {
        let Some(message) = self.message().await else { return false };
        let text = message.to_text().unwrap();
        let (kind, mut rest) = text.split_at(2);
        if kind == "40" {
            self.received.push_back(Received::Connected);
            return true;
        }
        if kind == "41" {
            self.received.push_back(Received::Disconnected);
            return true;
        }
        let mut count = 0;
        if let "45" | "46" = kind {
            let (digits, after) = rest.split_once('-').unwrap();
            count = digits.parse().unwrap();
            rest = after;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, json) = rest.split_at(digits);
        let args: Vec<Box<RawValue>> = serde_json::from_str(json).unwrap();
        // What JavaScript understands and Rust does not is kept as text.
        let lenient =
            |arg: &RawValue| serde_json::from_str(arg.get()).unwrap_or_else(|_| Value::from(arg.get()));
        let mut args: Vec<Value> = args.iter().map(|arg| lenient(arg)).collect();
        let raw = json.to_owned();
        let mut attachments = Vec::new();
        for _ in 0..count {
            match self.message().await.unwrap() {
                Message::Binary(bytes) => attachments.push(bytes),
                other => panic!("expected an attachment: {other:?}"),
            }
        }
        for arg in &args {
            assert_placeholders(arg, count);
        }
        self.received.push_back(match kind {
            "42" | "45" => {
                let name = args.remove(0).as_str().unwrap().to_owned();
                if matches!(name.as_str(), "presence" | "presence_reset" | "typing" | "read") {
                    self.notices.push_back((name, args.remove(0)));
                    return true;
                }
                Received::Event { name, args, raw, attachments }
            }
            "43" | "46" => Received::Ack { id: id.parse().unwrap(), args, raw, attachments },
            other => panic!("unexpected packet: {other}"),
        });
        true
    }

    /// The next message that is no ping; `None` once the connection is closed.
    async fn message(&mut self) -> Option<Message> {
        loop {
            let next =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server says nothing");
            match next {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => self.write(Message::text("3")).await,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    async fn write(&mut self, message: Message) {
        // What cannot be written any more is noticed by who waits for an answer.
        let _ = tokio::time::timeout(PATIENCE, self.socket.send(message))
            .await
            .expect("the server reads nothing");
    }
}

/// The official client throws on a placeholder without attachment.
fn assert_placeholders(value: &Value, attachments: u64) {
    match value {
        Value::Object(fields) if fields.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = fields.get("num").and_then(Value::as_u64).unwrap();
            assert!(number < attachments, "a placeholder that no client can resolve");
        }
        Value::Object(fields) => fields.values().for_each(|value| assert_placeholders(value, attachments)),
        Value::Array(values) => values.iter().for_each(|value| assert_placeholders(value, attachments)),
        _ => {}
    }
}
