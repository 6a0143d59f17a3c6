//! Notices new jobs by a change stream on all queues at once.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ChangeStreamEvent;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::error::has_no_change_streams;
use super::server::Server;
use crate::job::BackendName;
use crate::storage::changes::FollowedQueues;
use crate::storage::{Changes, StorageError, StorageErrorKind};

/// How long the server holds back an answer while there is nothing to tell.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// The pauses before a broken stream is opened again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Stream = ChangeStream<ChangeStreamEvent<RawDocumentBuf>>;

/// Watches the queues of a storage. The stream ends with this value.
pub(super) struct QueueWatch {
    queues: Arc<FollowedQueues>,
    /// Whether the stream is followed. Held while it is being opened, so that it is opened once.
    followed: tokio::sync::Mutex<bool>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_at_the_end: DropGuard,
}

impl QueueWatch {
    pub(super) fn new() -> Self {
        let stop = CancellationToken::new();
        Self {
            queues: Arc::default(),
            followed: tokio::sync::Mutex::new(false),
            tasks: TaskTracker::new(),
            _stop_at_the_end: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Tells that a job has come back to a queue, of which no stream tells if its document has never left.
    pub(super) fn tell(&self, backend: &BackendName) {
        self.queues.tell(backend.as_str());
    }

    /// Watches the queue of `backend`. `Refused` where the server has no change streams.
    pub(super) async fn add(&self, server: &Arc<Server>, backend: &BackendName) -> Result<Changes, StorageError> {
        let mut followed = self.followed.lock().await;
        if !*followed {
            let stream = open(server).await?;
            let follower = Follower { server: Arc::clone(server), queues: Arc::clone(&self.queues) };
            let stop = self.stop.clone();
            self.tasks.spawn(async move { stop.run_until_cancelled(follower.follow(stream)).await });
            *followed = true;
        }
        Ok(self.queues.follow(backend))
    }
}

async fn open(server: &Server) -> Result<Stream, StorageError> {
    let pipeline = [
        doc! { "$match": { "operationType": "insert", "ns.coll": { "$regex": "^queued[.]" } } },
        // The jobs themselves are not needed.
        doc! { "$project": { "_id": 1, "operationType": 1, "ns": 1 } },
    ];
    let jobs = server.client.database("jobs");
    let opening = jobs.watch().pipeline(pipeline).max_await_time(LONGEST_SILENCE);
    let opened = server.call_for(|| "cannot watch the queues".into(), opening).await?;
    opened.map(ChangeStream::with_type).map_err(|error| {
        let failure = server.origin.failure("cannot watch the queues", &error);
        if has_no_change_streams(&error) {
            let why = format!("{} has no change streams; they take a replica set", server.origin.shown);
            return StorageError::new(StorageErrorKind::Refused, why).caused_by(failure);
        }
        failure
    })
}

struct Follower {
    server: Arc<Server>,
    queues: Arc<FollowedQueues>,
}

impl Follower {
    /// Follows the stream, and opens it again whenever it breaks.
    async fn follow(self, stream: Stream) {
        let (mut stream, mut pause) = (Some(stream), FIRST_PAUSE);
        loop {
            if let Some(open) = stream.take() {
                let why = self.listen(open, &mut pause).await;
                tracing::debug!(why, "the watch of the queues has broken; it is opened again");
            }
            // What came meanwhile is found by a look.
            self.queues.tell_all();
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match open(&self.server).await {
                Ok(opened) => {
                    stream = Some(opened);
                    self.queues.tell_all();
                }
                Err(error) => tracing::debug!(%error, "the queues cannot be watched now"),
            }
        }
    }

    /// Tells what a stream says until it breaks, and why it did.
    async fn listen(&self, mut stream: Stream, pause: &mut Duration) -> String {
        while stream.is_alive() {
            // The server answers also when nothing happens; a connection that is dead says nothing at all.
            let answer = tokio::time::timeout(LONGEST_SILENCE * 3, stream.next_if_any()).await;
            match answer {
                Ok(Ok(event)) => {
                    *pause = FIRST_PAUSE;
                    let queue = event.and_then(|event| event.ns?.coll);
                    if let Some(backend) = queue.as_deref().and_then(|name| name.strip_prefix("queued.")) {
                        self.queues.tell(backend);
                    }
                }
                Ok(Err(error)) => return error.kind.to_string(),
                Err(_elapsed) => return "the server says nothing any more".into(),
            }
        }
        "the server has closed it".into()
    }
}
