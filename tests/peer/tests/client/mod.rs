//! A WebSocket client made of nothing but a socket.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cometd_peer::websocket::{self, Frame};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub struct Client {
    pub stream: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    /// Asks for a WebSocket.
    pub fn ask(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write!(
            stream,
            "GET /cometd HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nCookie: a=b\r\n\r\n"
        )
        .unwrap();
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    pub fn open(port: u16) -> Self {
        let mut client = Self::ask(port);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let accept = format!("Sec-WebSocket-Accept: {}\r\n", websocket::accept(KEY));
        assert!(head.contains(&accept), "{head}");
        client
    }

    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    pub fn send(&mut self, frame: Frame) {
        let bytes = frame.masked([1, 2, 3, 4]).to_bytes();
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn say(&mut self, text: &str) {
        self.send(Frame::text(text));
    }

    pub fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = Frame::take(&mut self.bytes).unwrap() {
                return frame;
            }
            let mut chunk = [0; 1000];
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the end, after {:?}", self.bytes);
            self.bytes.extend_from_slice(&chunk[..count]);
        }
    }

    pub fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.stream.read_to_end(&mut bytes).map(|_| bytes)
    }
}
