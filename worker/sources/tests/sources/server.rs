//! A web server that does what a test says, once per request and then as it should.
//!
//! What it does not imitate: it knows no hub, store or registry but only paths with bodies; it checks
//! no signature; its 404 and 401 have no words of their own; it never closes an idle connection.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use tokio::{net::TcpListener, task::JoinSet};

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// The same of the whole body, whatever range was asked for.
    CutWithoutRange(usize),
    /// Nothing more is sent after so many bytes, and the connection stays.
    Silence(usize),
    /// A status, with headers.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The whole body, whatever range was asked for.
    WithoutRange,
    /// A body without a length, followed by this many bytes too many.
    TooLong(usize),
    /// A range that begins elsewhere.
    OtherRange,
    /// A header more.
    With(&'static str, &'static str),
}

/// One file, and what is to happen to the requests for it, in their order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub body: Bytes,
    pub tag: Option<String>,
    pub acts: VecDeque<Act>,
    pub redirect: Option<String>,
    /// What `Authorization` has to be.
    pub wants: Option<String>,
    /// What is told to those who come without.
    pub challenge: Option<String>,
    pub headers: Vec<(&'static str, String)>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Debug, Default)]
struct Site {
    pages: BTreeMap<String, Page>,
    asked: Vec<Asked>,
}

/// A server, until it is dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    site: Arc<Mutex<Site>>,
    _serving: JoinSet<()>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener.local_addr().unwrap(), listener)
    }

    /// Serves on whatever accepts connections.
    pub fn on<L>(address: SocketAddr, listener: L) -> Self
    where
        L: axum::serve::Listener,
        L::Addr: std::fmt::Debug,
    {
        let site = Arc::new(Mutex::new(Site::default()));
        let router = Router::new().fallback(answer).with_state(site.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            site,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `path` may have a query: then it is the page of that query alone.
    pub fn put(&self, path: &str, page: Page) {
        self.site
            .lock()
            .unwrap()
            .pages
            .insert(path.to_owned(), page);
    }

    pub fn file(&self, path: &str, body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        let tag = Some(format!(
            "\"{:x}-{}\"",
            body.len(),
            body.first().unwrap_or(&0)
        ));
        self.put(
            path,
            Page {
                body,
                tag,
                ..Page::default()
            },
        );
    }

    pub fn change(&self, path: &str, change: impl FnOnce(&mut Page)) {
        change(self.site.lock().unwrap().pages.get_mut(path).unwrap());
    }

    pub fn acts(&self, path: &str, acts: &[Act]) {
        self.change(path, |page| page.acts = acts.iter().cloned().collect());
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.site.lock().unwrap().asked.clone()
    }

    /// The requests for `path`.
    pub fn asked_for(&self, path: &str) -> Vec<Asked> {
        self.asked()
            .into_iter()
            .filter(|asked| asked.path == path)
            .collect()
    }

    pub fn forget(&self) {
        self.site.lock().unwrap().asked.clear();
    }
}

async fn answer(State(site): State<Arc<Mutex<Site>>>, request: Request) -> Response {
    let whole = request.uri().path_and_query();
    let whole = whole.map_or("", |all| all.as_str()).to_owned();
    let headers = request.headers().clone();
    let (page, act) = {
        let mut site = site.lock().unwrap();
        let path = request.uri().path();
        // Google's library writes a slash inside a name as `%2F`.
        let path = match site.pages.contains_key(path) {
            true => path.to_owned(),
            false => path.replace("%2F", "/").replace("%2E", "."),
        };
        site.asked.push(Asked {
            path: path.clone(),
            headers: headers.clone(),
        });
        let key = if site.pages.contains_key(&whole) {
            whole
        } else {
            path
        };
        let Some(page) = site.pages.get_mut(&key) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let act = page.acts.pop_front();
        (page.clone(), act)
    };
    let mut response = of_page(&page, act.as_ref(), &headers);
    for (name, value) in &page.headers {
        add(&mut response, name, value);
    }
    if let Some(Act::With(name, value)) = act {
        add(&mut response, name, value);
    }
    response
}

fn of_page(page: &Page, act: Option<&Act>, headers: &HeaderMap) -> Response {
    if let Some(Act::Status(status, headers)) = act {
        let mut response = StatusCode::from_u16(*status).unwrap().into_response();
        headers
            .iter()
            .for_each(|(name, value)| add(&mut response, name, value));
        return response;
    }
    let sent = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap());
    if page.wants.is_some() && page.wants.as_deref() != sent {
        let mut response = StatusCode::UNAUTHORIZED.into_response();
        if let Some(challenge) = &page.challenge {
            add(&mut response, "www-authenticate", challenge);
        }
        return response;
    }
    if let Some(to) = &page.redirect {
        let mut response = StatusCode::FOUND.into_response();
        add(&mut response, "location", to);
        return response;
    }
    file(page, act, headers)
}

fn file(page: &Page, act: Option<&Act>, headers: &HeaderMap) -> Response {
    let total = page.body.len();
    let value = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let range = value(header::RANGE).and_then(|range| {
        let first = range.strip_prefix("bytes=")?.strip_suffix('-')?;
        first.parse::<usize>().ok()
    });
    // A tag that is no longer right asks for the whole.
    let is_same = value(header::IF_RANGE).is_none_or(|tag| Some(tag) == page.tag.as_deref());
    let range = range
        .filter(|_| is_same && !matches!(act, Some(Act::WithoutRange | Act::CutWithoutRange(_))));
    if range.is_some_and(|first| first >= total) {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let first = range.unwrap_or(0);
    let rest = page.body.slice(first..);
    let mut response = match act {
        Some(Act::Cut(after) | Act::CutWithoutRange(after)) => Response::new(broken(&rest, *after)),
        Some(Act::Silence(after)) => {
            let start = rest.slice(..(*after).min(rest.len()));
            let start = stream::iter([Ok::<_, std::io::Error>(start)]);
            Response::new(Body::from_stream(start.chain(stream::pending())))
        }
        Some(Act::TooLong(more)) => {
            let chunks = [rest.clone(), Bytes::from(vec![0; *more])];
            Response::new(Body::from_stream(stream::iter(
                chunks.map(Ok::<_, std::io::Error>),
            )))
        }
        _ => Response::new(Body::from(rest.clone())),
    };
    if !matches!(act, Some(Act::TooLong(_))) {
        add(&mut response, "content-length", &rest.len().to_string());
    }
    if let Some(tag) = &page.tag {
        add(&mut response, "etag", tag);
    }
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let shown = first + usize::from(matches!(act, Some(Act::OtherRange)));
        add(
            &mut response,
            "content-range",
            &format!("bytes {shown}-{}/{total}", total - 1),
        );
    }
    response
}

fn broken(rest: &Bytes, after: usize) -> Body {
    let start = rest.slice(..after.min(rest.len()));
    // Only what is on the wire before the break counts, so the break waits for it.
    let end = async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut"))
    };
    Body::from_stream(stream::iter([Ok(start)]).chain(stream::once(end)))
}

fn add(response: &mut Response, name: &str, value: &str) {
    let name: HeaderName = name.parse().unwrap();
    response.headers_mut().insert(name, value.parse().unwrap());
}
