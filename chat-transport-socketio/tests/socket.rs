//! Socket.IO over real sockets: namespaces, events and acks, order, backpressure, and the end of a connection.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use chat_transport_socketio::engine::CloseReason;
use chat_transport_socketio::{
    Accept, Args, AskError, Auth, DisconnectReason, EmitError, Event, Frame, Namespace, Offer, Outlet, Pull,
    Refusal, Socket, SocketIo, SocketIoBuilder, Source,
};
use futures_util::task::AtomicWaker;
use support::{Got, Polling, Ws, calm, connected, quick, soon, start, until};
use tokio::sync::mpsc;

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

async fn serving(builder: SocketIoBuilder) -> (SocketIo, SocketAddr) {
    let io = builder.build();
    let address = start(Router::new().nest_service("/socket.io", io.router())).await;
    (io, address)
}

async fn one(namespace: Namespace) -> (SocketIo, SocketAddr) {
    serving(SocketIo::builder().settings(calm()).namespace("/", namespace)).await
}

async fn opened(address: SocketAddr) -> Ws {
    let mut ws = Ws::open(address, WEBSOCKET).await;
    ws.text().await;
    ws
}

fn echo() -> Namespace {
    Namespace::new()
        .on_connect(|socket: Socket, auth: Auth| async move {
            socket.emit_args("auth", &Args::new().raw(auth.raw().unwrap_or("{}"))).unwrap();
            Ok::<_, Refusal>(())
        })
        .on("message", |socket: Socket, event: Event| async move {
            socket.emit_args("message-back", &Args::from(&event)).unwrap();
        })
        .on("message-with-ack", |_, mut event: Event| async move {
            let ack = event.ack.take().unwrap();
            ack.send_args(&Args::from(&event)).unwrap();
        })
}

#[tokio::test]
async fn a_connect_is_answered_with_a_sid_and_then_with_what_the_handler_sent() {
    let (_io, address) =
        serving(SocketIo::builder().settings(calm()).namespace("/", echo()).namespace("/custom", echo()))
            .await;
    for (connect, prefix, auth) in [
        ("40", "40{", r#"42["auth",{}]"#),
        (r#"40{"token":"123"}"#, "40{", r#"42["auth",{"token":"123"}]"#),
        ("40/custom,", "40/custom,{", r#"42/custom,["auth",{}]"#),
        (r#"40/custom,{"token":"abc"}"#, "40/custom,{", r#"42/custom,["auth",{"token":"abc"}]"#),
    ] {
        let mut ws = opened(address).await;
        ws.send(connect).await;
        let answer = ws.text().await;
        assert!(answer.starts_with(prefix), "{answer}");
        let value: serde_json::Value = serde_json::from_str(&answer[prefix.len() - 1..]).unwrap();
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["sid"]);
        assert_eq!(ws.text().await, auth);
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_leaves_the_connection_open() {
    let (_io, address) = one(echo()).await;
    let mut ws = opened(address).await;
    ws.send("40/random").await;
    assert_eq!(ws.text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    ws.send("40").await;
    assert!(ws.text().await.starts_with("40"));
}

#[tokio::test]
async fn one_that_connects_again_and_again_is_closed_without_asking_anybody() {
    let asked = Arc::new(AtomicUsize::new(0));
    let namespace = Namespace::new().on_connect({
        let asked = asked.clone();
        move |_, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok::<_, Refusal>(()))
        }
    });
    let builder = SocketIo::builder().settings(calm()).connects_max(10).namespace("/", namespace);
    let (_io, address) = serving(builder).await;
    let mut ws = opened(address).await;
    // One that is refused counts as well.
    ws.send("40/nowhere,").await;
    assert_eq!(ws.text().await, r#"44/nowhere,{"message":"Invalid namespace"}"#);
    for _ in 1..10 {
        ws.send("40").await;
        assert!(ws.text().await.starts_with("40{"));
        ws.send("41").await;
    }
    ws.send("40").await;
    ws.closed().await;
    assert_eq!(asked.load(Ordering::SeqCst), 9);
    let mut other = opened(address).await;
    other.send("40").await;
    assert!(other.text().await.starts_with("40{"), "on a new connection it may");
}

#[tokio::test]
async fn one_namespace_too_many_is_refused() {
    let builder = SocketIo::builder()
        .settings(calm())
        .namespaces_max(1)
        .namespace("/", Namespace::new())
        .namespace("/two", Namespace::new());
    let (_io, address) = serving(builder).await;
    let mut ws = connected(address).await;
    ws.send("40/two,").await;
    assert_eq!(ws.text().await, r#"44/two,{"message":"Too many namespaces on one connection"}"#);
    ws.send("41").await;
    ws.send("40/two,").await;
    assert!(ws.text().await.starts_with("40/two,{"));
}

#[tokio::test]
async fn a_refusal_for_good_is_told_and_a_passing_one_closes_at_the_deadline() {
    let namespace = Namespace::new().on_connect(|_, auth: Auth| async move {
        if auth.raw().is_some() {
            return Err(Refusal::Passing);
        }
        Err::<Accept, _>(Refusal::Permanent {
            message: "no".to_owned(),
            data: Some(serde_json::json!({"code": 7})),
        })
    });
    let timeout = Duration::from_millis(200);
    let builder = SocketIo::builder().settings(calm()).connect_timeout(timeout).namespace("/", namespace);
    let (_io, address) = serving(builder).await;
    let mut ws = opened(address).await;
    ws.send("40").await;
    let refused: serde_json::Value = serde_json::from_str(&ws.text().await[2..]).unwrap();
    assert_eq!(refused, serde_json::json!({"message": "no", "data": {"code": 7}}));

    let began = Instant::now();
    let mut ws = opened(address).await;
    ws.send("40{}").await;
    assert_eq!(ws.next().await, Got::Closed, "nothing is answered");
    assert!(timeout.mul_f32(0.9) <= began.elapsed());
}

#[tokio::test]
async fn a_client_that_joins_nothing_in_time_is_closed() {
    let builder = SocketIo::builder()
        .settings(calm())
        .connect_timeout(Duration::from_millis(100))
        .namespace("/", Namespace::new().on_connect(|_, _| std::future::pending::<Result<(), Refusal>>()))
        .namespace("/open", Namespace::new());
    let (io, address) = serving(builder).await;
    opened(address).await.closed().await;
    // Nor may a handler take for ever.
    let mut ws = opened(address).await;
    ws.send("40").await;
    ws.closed().await;
    // Nor does one that has left everything stay.
    let mut ws = opened(address).await;
    ws.send("40/open,").await;
    ws.text().await;
    ws.send("41/open,").await;
    ws.closed().await;
    until("all are gone", || io.connections() == 0).await;
}

#[tokio::test]
async fn a_second_namespace_that_does_not_answer_in_time_closes_the_connection() {
    let builder = SocketIo::builder()
        .settings(calm())
        .connect_timeout(Duration::from_millis(100))
        .namespace("/", Namespace::new())
        .namespace(
            "/stuck",
            Namespace::new().on_connect(|_, _| std::future::pending::<Result<(), Refusal>>()),
        );
    let (_io, address) = serving(builder).await;
    let mut ws = connected(address).await;
    ws.send("40/stuck,").await;
    ws.closed().await;
}

#[tokio::test]
async fn events_and_acks_carry_any_arguments_both_ways() {
    let (_io, address) = one(echo()).await;
    let mut ws = connected(address).await;
    ws.text().await;
    ws.send(r#"42["message",1,"2",{"3":[true]}, 1.0 ]"#).await;
    assert_eq!(ws.text().await, r#"42["message-back",1,"2",{"3":[true]},1.0]"#);
    ws.send(r#"42456["message-with-ack",1,"2",{"3":[false]}]"#).await;
    assert_eq!(ws.text().await, r#"43456[1,"2",{"3":[false]}]"#);

    let two = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    for (header, answer) in
        [(r#"452-["message","#, r#"452-["message-back","#), (r#"452-789["message-with-ack","#, "462-789[")]
    {
        ws.send(&format!("{header}{two}")).await;
        ws.send_binary(&[1, 2, 3]).await;
        ws.send_binary(&[4, 5, 6]).await;
        assert_eq!(ws.text().await, format!("{answer}{two}"));
        assert_eq!(ws.next().await, Got::Binary(vec![1, 2, 3]));
        assert_eq!(ws.next().await, Got::Binary(vec![4, 5, 6]));
    }
}

#[tokio::test]
async fn an_argument_may_be_an_array_of_any_length() {
    let (_io, address) = one(echo()).await;
    let mut ws = connected(address).await;
    ws.text().await;
    let long = vec!["1"; 10_000].join(",");
    ws.send(&format!(r#"42["message",[{long}]]"#)).await;
    assert_eq!(ws.text().await, format!(r#"42["message-back",[{long}]]"#));
    // The arguments themselves are bounded.
    ws.send(&format!(r#"42["message",{long}]"#)).await;
    assert_eq!(ws.next().await, Got::Closed);
}

#[tokio::test]
async fn polling_carries_everything_as_well() {
    let (_io, address) = one(echo()).await;
    let session = Polling::open(address, "/socket.io/").await;
    session.post("40").await;
    let connected = session.get().await.body;
    assert!(connected.contains("\u{1e}42[\"auth\",{}]"), "{connected}");
    session.post("451-[\"message\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQID").await;
    assert_eq!(
        session.get().await.body,
        "451-[\"message-back\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQID"
    );
}

#[tokio::test]
async fn an_event_before_connect_closes_the_connection() {
    let (io, address) = one(echo()).await;
    let mut ws = opened(address).await;
    ws.send(r#"42["message"]"#).await;
    assert_eq!(ws.next().await, Got::Closed);
    until("it is gone", || io.connections() == 0).await;
}

#[tokio::test]
async fn handlers_of_one_connection_run_one_after_another_in_order() {
    let running = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let namespace = Namespace::new().on_any({
        let (running, seen) = (running.clone(), seen.clone());
        move |_, event: Event| {
            let (running, seen) = (running.clone(), seen.clone());
            async move {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                for _ in 0..event.parse::<u8>(0).unwrap() % 4 {
                    tokio::task::yield_now().await;
                }
                seen.lock().unwrap().push(event.name().to_owned());
                running.fetch_sub(1, Ordering::SeqCst);
            }
        }
    });
    let (_io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    let names: Vec<_> = (0..200).map(|number| format!("event-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        ws.send(&format!(r#"42["{name}",{number}]"#)).await;
    }
    until("all were handled", || seen.lock().unwrap().len() == names.len()).await;
    assert_eq!(*seen.lock().unwrap(), names);
}

#[tokio::test]
async fn a_handler_may_ask_its_own_client() {
    let namespace = Namespace::new().on("question", |socket: Socket, _| async move {
        let answer = socket.ask("and you", &Args::one(&1).unwrap(), support::PATIENCE).await.unwrap();
        socket.emit_args("answered", &Args::new().raw(answer.arg(0).unwrap())).unwrap();
        let silent = socket.ask("silent", &Args::new(), Duration::from_millis(20)).await;
        assert!(matches!(silent, Err(AskError::TimedOut)));
        socket.emit("done", &true).unwrap();
    });
    let (_io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    ws.send(r#"42["question"]"#).await;
    assert_eq!(ws.text().await, r#"420["and you",1]"#);
    ws.send(r#"42["another"]"#).await;
    ws.send(r#"430["fine"]"#).await;
    assert_eq!(ws.text().await, r#"42["answered","fine"]"#);
    assert_eq!(ws.text().await, r#"421["silent"]"#);
    assert_eq!(ws.text().await, r#"42["done",true]"#);
}

#[tokio::test]
async fn heartbeats_go_on_while_a_handler_takes_its_time() {
    let release = Arc::new(tokio::sync::Notify::new());
    let namespace = Namespace::new().on("slow", {
        let release = release.clone();
        move |socket: Socket, _| {
            let release = release.clone();
            async move {
                release.notified().await;
                socket.emit("done", &()).unwrap();
            }
        }
    });
    let (_io, address) = serving(SocketIo::builder().settings(quick()).namespace("/", namespace)).await;
    let mut ws = connected(address).await;
    // What waits behind the handler is more than is read ahead; a pong cannot get through, and that is not held against the client.
    ws.send(r#"42["slow"]"#).await;
    for _ in 0..100 {
        ws.send(&format!(r#"42["ignored","{}"]"#, "x".repeat(1000))).await;
    }
    let several_timeouts = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < several_timeouts {
        assert_eq!(ws.text().await, "2", "it is still pinged, at least at first");
        ws.send("3").await;
        if tokio::time::timeout_at(several_timeouts.into(), std::future::pending::<()>()).await.is_err() {
            break;
        }
    }
    release.notify_one();
    loop {
        match ws.text().await.as_str() {
            "2" => ws.send("3").await,
            text => {
                assert_eq!(text, r#"42["done",null]"#);
                break;
            }
        }
    }
}

/// Frames by number, for every reader its own position; and a count of what was pulled.
struct Numbers {
    due: AtomicUsize,
    pulled: AtomicUsize,
    waker: AtomicWaker,
    filler: String,
}

impl Numbers {
    fn new(filler: usize) -> Arc<Self> {
        Arc::new(Self {
            due: AtomicUsize::new(0),
            pulled: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
            filler: "x".repeat(filler),
        })
    }

    fn grow(&self, count: usize) {
        self.due.fetch_add(count, Ordering::SeqCst);
        self.waker.wake();
    }
}

struct Reader {
    numbers: Arc<Numbers>,
    next: usize,
}

impl Source for Reader {
    fn poll_pull(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_, '_>) -> Poll<Pull> {
        self.numbers.waker.register(cx.waker());
        while self.next < self.numbers.due.load(Ordering::SeqCst) {
            let args = Args::one(&self.next).unwrap().json(&self.numbers.filler).unwrap();
            if outlet.offer(&Frame::event("/", "n", &args), |_| ()) == Offer::Full {
                return Poll::Ready(Pull::Full);
            }
            self.next += 1;
            self.numbers.pulled.store(self.next, Ordering::SeqCst);
        }
        Poll::Pending
    }

    fn place(&self, _: &mut Vec<u8>) {}
}

fn reading(numbers: &Arc<Numbers>) -> Namespace {
    let numbers = numbers.clone();
    Namespace::new().on_connect(move |socket: Socket, _| {
        socket.attach(Reader { numbers: numbers.clone(), next: 0 });
        std::future::ready(Ok::<_, Refusal>(()))
    })
}

#[tokio::test]
async fn a_source_is_pulled_behind_the_connect_answer_and_in_order() {
    let numbers = Numbers::new(0);
    numbers.grow(2);
    let (_io, address) = one(reading(&numbers)).await;
    let mut ws = connected(address).await;
    numbers.grow(1);
    for number in 0..3 {
        assert_eq!(ws.text().await, format!(r#"42["n",{number},""]"#));
    }
    let session = Polling::open(address, "/socket.io/").await;
    session.post("40").await;
    let mut body = session.get().await.body;
    while !body.contains("[\"n\",2,") {
        body += "\u{1e}";
        body += &session.get().await.body;
    }
    let texts: Vec<_> = body.split('\u{1e}').skip(1).map(str::to_owned).collect();
    assert_eq!(texts, (0..3).map(|number| format!(r#"42["n",{number},""]"#)).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_ack_goes_out_before_the_frames_that_its_handler_caused() {
    let numbers = Numbers::new(0);
    let namespace = reading(&numbers).on("post", {
        let numbers = numbers.clone();
        move |_, mut event: Event| {
            event.ack.take().unwrap().send(&"stored").unwrap();
            numbers.grow(1);
            std::future::ready(())
        }
    });
    let (_io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    for number in 0..50 {
        ws.send(&format!(r#"42{number}["post"]"#)).await;
        assert_eq!(ws.text().await, format!(r#"43{number}["stored"]"#));
        assert_eq!(ws.text().await, format!(r#"42["n",{number},""]"#));
    }
}

#[tokio::test]
async fn a_reader_that_stops_is_not_pulled_for_and_loses_nothing() {
    let numbers = Numbers::new(1000);
    let (_io, address) = one(reading(&numbers)).await;
    let mut ws = connected(address).await;
    let total = 20_000;
    numbers.grow(total);
    // Nobody reads: what is pulled comes to a stand at what the kernel's buffers hold.
    let mut before = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let pulled = numbers.pulled.load(Ordering::SeqCst);
        if pulled == before && 0 < pulled {
            break;
        }
        before = pulled;
    }
    assert!(before < total / 10, "{before} frames of a kilobyte were pulled for a peer that reads none");
    for number in 0..total {
        let text = ws.text().await;
        assert!(text.starts_with(&format!(r#"42["n",{number},"#)), "{number}: {}", &text[..40]);
    }
}

#[tokio::test]
async fn a_reader_that_stops_is_closed_at_its_heartbeat_deadline_and_not_before() {
    let numbers = Numbers::new(1000);
    let builder = SocketIo::builder().settings(quick()).namespace("/", reading(&numbers));
    let (io, address) = serving(builder).await;
    let began = Instant::now();
    let _ws = connected(address).await;
    numbers.grow(50_000);
    until("it was given up", || io.namespace("/").unwrap().sockets().is_empty()).await;
    assert!(Duration::from_millis(450) <= began.elapsed());
    until("it is gone", || io.connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answers_is_not_read_from() {
    let handled = Arc::new(AtomicUsize::new(0));
    let namespace = Namespace::new().on("ask", {
        let handled = handled.clone();
        move |_, mut event: Event| {
            handled.fetch_add(1, Ordering::SeqCst);
            event.ack.take().unwrap().send(&"y".repeat(10_000)).unwrap();
            std::future::ready(())
        }
    });
    let (_io, address) =
        serving(SocketIo::builder().settings(calm()).outbox_bytes_max(100_000).namespace("/", namespace))
            .await;
    let ws = connected(address).await;
    let (mut sink, mut stream) = futures_util::StreamExt::split(ws.0);
    let total = 6_000;
    let sender = tokio::spawn(async move {
        for number in 0..total {
            let frame = tokio_tungstenite::tungstenite::Message::text(format!(r#"42{number}["ask"]"#));
            futures_util::SinkExt::send(&mut sink, frame).await.unwrap();
        }
        sink
    });
    let mut before = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = handled.load(Ordering::SeqCst);
        if now == before && 0 < now {
            break;
        }
        before = now;
    }
    // The kernel's buffers on both sides, the outbox and what is read ahead; far from everything.
    assert!(before < total / 20, "{before} answers were made for a peer that takes none");
    for number in 0..total {
        let frame = soon(futures_util::StreamExt::next(&mut stream)).await.unwrap().unwrap();
        assert!(frame.to_text().unwrap().starts_with(&format!("43{number}[")), "{number}");
    }
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn large_answers_that_come_together_are_all_sent() {
    let namespace = Namespace::new().on("ask", |_, mut event: Event| async move {
        let bytes = event.parse(0).unwrap();
        event.ack.take().unwrap().send(&"y".repeat(bytes)).unwrap();
    });
    let (_io, address) = one(namespace).await;
    let session = Polling::open(address, "/socket.io/").await;
    session.post("40").await;
    assert!(session.get().await.body.starts_with("40"));
    // Nobody polls meanwhile, and one of them alone is below the bound of what may wait.
    let sizes = [230_000, 300_000, 250_000, 900_000, 1];
    let asking: Vec<_> =
        sizes.iter().enumerate().map(|(id, bytes)| format!(r#"42{id}["ask",{bytes}]"#)).collect();
    let posting = tokio::spawn({
        let session = session.clone();
        async move { session.post(&asking.join("\u{1e}")).await }
    });
    let mut answers = Vec::new();
    while answers.len() < sizes.len() {
        let response = session.get().await;
        assert_eq!(response.status, 200, "closed after {} answers", answers.len());
        answers.extend(response.body.split('\u{1e}').map(str::len));
    }
    let expected: Vec<_> = sizes.iter().map(|bytes| bytes + r#"430[""]"#.len()).collect();
    assert_eq!(answers, expected);
    assert_eq!(posting.await.unwrap().status, 200);
}

#[tokio::test]
async fn one_that_takes_too_little_of_a_broadcast_is_closed_not_skipped() {
    let (left, mut departures) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on_disconnect(move |_, reason| {
        left.send(reason).unwrap();
        std::future::ready(())
    });
    let settings = calm().close_timeout(Duration::from_millis(100));
    let (io, address) =
        serving(SocketIo::builder().settings(settings).outbox_bytes_max(50_000).namespace("/", namespace))
            .await;
    let _idle = connected(address).await;
    let all = io.namespace("/").unwrap();
    until("it is in", || all.sockets().len() == 1).await;
    let frame = Frame::event("/", "big", &Args::one(&"x".repeat(20_000)).unwrap());
    let socket = all.sockets().remove(0);
    let mut emitted = 0;
    while socket.send(frame.clone()).is_ok() {
        emitted += 1;
        tokio::task::yield_now().await;
        assert!(emitted < 10_000);
    }
    assert!(matches!(socket.send(frame.clone()), Err(EmitError::Full)));
    all.send(&frame);
    assert_eq!(soon(departures.recv()).await, Some(DisconnectReason::Connection(CloseReason::Overflow)));
}

#[tokio::test]
async fn rooms_and_exceptions_choose_who_gets_what() {
    let namespace = Namespace::new()
        .on("join", |socket: Socket, mut event: Event| async move {
            socket.join(&event.parse::<String>(0).unwrap());
            event.ack.take().unwrap().send(&socket.id().to_string()).unwrap();
        })
        .on("others", |socket: Socket, _| async move {
            socket.to("a").emit("from-other", &1).unwrap();
        });
    let (io, address) = one(namespace).await;
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for rooms in [&["a"][..], &["a", "b"], &["b"]] {
        let mut ws = connected(address).await;
        for (number, room) in rooms.iter().enumerate() {
            ws.send(&format!(r#"42{number}["join","{room}"]"#)).await;
            let answer = ws.text().await;
            ids.resize(clients.len(), String::new());
            ids.push(answer[4..].trim_matches(['"', ']', '[']).to_owned());
        }
        clients.push(ws);
    }
    io.to("a").emit("a", &1).unwrap();
    io.to("a").to("b").emit("ab", &1).unwrap();
    io.to("b").except(ids[1].clone()).emit("b-not-second", &1).unwrap();
    io.to(ids[2].clone()).emit("third", &1).unwrap();
    clients[0].send(r#"42["others"]"#).await;
    until("everything was sent", || io.connections() == 3).await;
    let expected: [&[&str]; 3] = [&["a", "ab"], &["a", "ab", "from-other"], &["ab", "b-not-second", "third"]];
    for (ws, names) in clients.iter_mut().zip(expected) {
        for name in names {
            assert_eq!(ws.text().await, format!(r#"42["{name}",1]"#));
        }
    }
    drop(clients.pop());
    until("its rooms are left", || io.to("b").sockets().len() == 1).await;
}

#[tokio::test]
async fn the_end_of_a_socket_is_told_with_its_reason() {
    let (left, mut departures) = mpsc::unbounded_channel();
    let namespace = || {
        let left = left.clone();
        Namespace::new()
            .on("leave me", |socket: Socket, _| async move { socket.disconnect() })
            .on("hang up", |socket: Socket, _| async move { socket.close_connection() })
            .on_disconnect(move |socket: Socket, reason| {
                assert!(!socket.is_connected());
                assert!(matches!(socket.emit("x", &1), Err(EmitError::Closed)));
                left.send(reason).unwrap();
                std::future::ready(())
            })
    };
    let builder =
        SocketIo::builder().settings(calm()).namespace("/", namespace()).namespace("/two", namespace());
    let (io, address) = serving(builder).await;

    let mut ws = connected(address).await;
    ws.send("40/two,").await;
    ws.text().await;
    ws.send("41").await;
    assert_eq!(soon(departures.recv()).await, Some(DisconnectReason::Client));
    ws.send(r#"42/two,["leave me"]"#).await;
    assert_eq!(ws.text().await, "41/two,");
    assert_eq!(soon(departures.recv()).await, Some(DisconnectReason::Server));
    // What the client sent before it knew is no offence, and it may come in again.
    ws.send(r#"42/two,["late"]"#).await;
    ws.send("40/two,").await;
    assert!(ws.text().await.starts_with("40/two,"));
    ws.send(r#"42/two,["hang up"]"#).await;
    assert_eq!(ws.next().await, Got::Closed, "without a DISCONNECT, so that the client comes back");
    assert_eq!(soon(departures.recv()).await, Some(DisconnectReason::Connection(CloseReason::Closed)));

    drop(connected(address).await);
    assert_eq!(
        soon(departures.recv()).await,
        Some(DisconnectReason::Connection(CloseReason::TransportClosed))
    );
    until("all are gone", || io.connections() == 0).await;
}

#[tokio::test]
async fn a_handler_is_dropped_with_its_connection() {
    struct Tell(mpsc::UnboundedSender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let (begun, mut begins) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on("wait", move |_, _| {
        let tell = Tell(dropped.clone());
        begun.send(()).unwrap();
        async move {
            std::future::pending::<()>().await;
            drop(tell);
        }
    });
    let (_io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    ws.send(r#"42["wait"]"#).await;
    soon(begins.recv()).await;
    drop(ws);
    soon(drops.recv()).await;
}

#[tokio::test]
async fn a_handler_that_panics_takes_only_its_own_connection_along() {
    let namespace = Namespace::new().on("bug", |_, _| async { panic!("a bug in a handler") });
    let (io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    let mut other = connected(address).await;
    ws.send(r#"42["bug"]"#).await;
    ws.closed().await;
    until("it left", || io.connections() == 1 && io.namespace("/").unwrap().sockets().len() == 1).await;
    io.namespace("/").unwrap().emit("still", &1).unwrap();
    assert_eq!(other.text().await, r#"42["still",1]"#);
}

#[tokio::test]
async fn a_server_that_stops_lets_handlers_end_and_sends_no_disconnect() {
    let (begun, mut begins) = mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let namespace = Namespace::new().on("post", {
        let go = go.clone();
        move |_, mut event: Event| {
            let go = go.clone();
            begun.send(()).unwrap();
            async move {
                go.notified().await;
                event.ack.take().unwrap().send(&"stored").unwrap();
            }
        }
    });
    let (io, address) = one(namespace).await;
    let mut ws = connected(address).await;
    ws.send(r#"425["post"]"#).await;
    soon(begins.recv()).await;
    let stop = tokio::spawn({
        let io = io.clone();
        async move { io.shutdown(Duration::from_secs(10)).await }
    });
    until("no new one is taken", || !stop.is_finished()).await;
    go.notify_one();
    assert_eq!(ws.text().await, r#"435["stored"]"#);
    assert_eq!(ws.next().await, Got::Closed);
    drop(ws);
    assert!(soon(stop).await.unwrap());
}

#[tokio::test]
async fn a_volatile_event_is_sent_only_to_one_that_takes_it_at_once() {
    let (io, address) = one(Namespace::new()).await;
    let mut ws = connected(address).await;
    let all = io.namespace("/").unwrap();
    until("it is in", || all.sockets().len() == 1).await;
    let socket = all.sockets().remove(0);
    // Idle, it takes one at once; it is known to be idle from the end of a turn on.
    let deadline = Instant::now() + support::PATIENCE;
    let mut volatile = 0;
    loop {
        assert!(Instant::now() < deadline, "it never takes one");
        socket.emit_volatile("v", &1).unwrap();
        volatile += 1;
        if let Ok(text) = tokio::time::timeout(Duration::from_millis(50), ws.text()).await {
            assert_eq!(text, r#"42["v",1]"#);
            break;
        }
    }
    let mut sent = 0;
    while socket.emit("big", &"x".repeat(20_000)).is_ok() {
        sent += 1;
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        socket.emit_volatile("dropped", &1).unwrap();
    }
    let mut taken = 0;
    while taken < sent {
        match ws.text().await.as_str() {
            r#"42["v",1]"# if volatile > 1 => volatile -= 1,
            big => {
                assert!(big.starts_with(r#"42["big","#), "{big}");
                taken += 1;
            }
        }
    }
    socket.emit("last", &1).unwrap();
    assert_eq!(ws.text().await, r#"42["last",1]"#, "nothing waited in between");
}

#[tokio::test]
async fn a_host_that_uses_axum_serve_works_as_well() {
    let io = SocketIo::builder().settings(calm()).namespace("/", echo()).build();
    let app = Router::new()
        .route("/socket.io/socket.io.js", axum::routing::get(|| async { "the client" }))
        .nest_service("/socket.io", io.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let mut ws = connected(address).await;
    ws.text().await;
    ws.send(r#"42["message",1]"#).await;
    assert_eq!(ws.text().await, r#"42["message-back",1]"#);
    let script = support::request(address, "GET", "/socket.io/socket.io.js", "", b"").await;
    assert!(script.body.contains("the client"));
}

#[tokio::test]
async fn a_room_named_like_a_socket_keeps_that_sockets_messages() {
    let namespace = Namespace::new().on("join", |socket: Socket, event: Event| async move {
        socket.join(&event.parse::<String>(0).unwrap());
    });
    let (io, address) = one(namespace).await;
    let (mut bob, mut eve) = (connected(address).await, connected(address).await);
    let [one, two] = &io.namespace("/").unwrap().sockets()[..] else { panic!("two are there") };
    // Which of them is Bob does not matter: each has what is sent to it.
    for (target, other) in [(one, two), (two, one)] {
        other.join(&target.id().to_string());
        io.to(target.id().to_string()).emit("for", &target.id().to_string()).unwrap();
    }
    let (bobs, eves) = ([bob.text().await, bob.text().await], [eve.text().await, eve.text().await]);
    assert_eq!(bobs, eves);
}
