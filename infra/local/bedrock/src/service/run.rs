//! The model at work, and its answer on its way to the caller.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::admit::Admitted;
use super::{Service, entry, error, whole};
use crate::answer::{self, Frame, Guarded, Served};
use crate::books::{Entry, State};
use crate::cache::Split;
use crate::door::{Part, Request, Response};
use crate::fault::{Fault, Kind};
use crate::generation::Generation;
use crate::play::{Failure, Pace, Play};
use crate::target::Operation;
use crate::usage::Usage;

/// Frames before a stream breaks, where nothing is said.
const FRAMES_BEFORE_BREAK: usize = 2;

type Head = oneshot::Sender<Option<Response>>;

/// A call at work.
struct Call<'a> {
    service: &'a Service,
    number: u64,
    admitted: &'a Admitted,
    request_id: &'a str,
    /// When it is served to its end.
    usage: Usage,
    gate: Arc<Semaphore>,
}

/// The caller is gone.
struct HungUp;

impl Service {
    pub(super) async fn run(&self, admitted: Admitted, request: &Request, request_id: &str, head: Head) {
        let seed = seed(&admitted.model_id, &request.body);
        let generation = Generation::of(&admitted.ask, &admitted.play, &admitted.model, seed);
        let (usage, guarded) = self.usage(&admitted, &generation);
        let is_free = admitted.operation == Operation::CountTokens;
        let tier = admitted.play.tier.clone().unwrap_or_else(|| admitted.tier.clone());
        let reported = reported(&admitted.play, &usage);
        let number = self.books.enter(Entry {
            model: Some(admitted.model_id.clone()),
            tier: Some(tier.clone()),
            max_tokens: admitted.ask.max_tokens,
            reported: reported.filter(|_| !is_free),
            ..entry(request_id, request, admitted.play.name.clone(), Some(admitted.caller.clone()))
        });
        if !is_free {
            self.books.used(number, &admitted.model, Usage { output: 0, ..usage });
        }
        let gate = self.books.gate_of(number, admitted.play.name.as_deref());
        let served = Served {
            id: format!("{seed:016x}{number:08x}"),
            model: admitted.model_id.clone(),
            generation,
            reported,
            tier,
            guardrail: guarded,
            includes_usage: admitted.ask.includes_usage,
            created: 1_795_000_000,
        };
        let call = Call { service: self, number, admitted: &admitted, request_id, usage, gate };
        let state = call.go(&served, head, is_free).await.unwrap_or(State::HungUp);
        self.books.change(number, |entry| entry.state = state);
    }

    /// What a call uses when it is served to its end.
    fn usage(&self, admitted: &Admitted, generation: &Generation) -> (Usage, Option<Guarded>) {
        let Admitted { ask, play, .. } = admitted;
        let total = play.input.unwrap_or_else(|| ask.token_sums().1);
        let split = if play.cache_read.or(play.cache_write_5m).or(play.cache_write_1h).is_some() {
            Split {
                read: play.cache_read.unwrap_or_default(),
                write_5m: play.cache_write_5m.unwrap_or_default(),
                write_1h: play.cache_write_1h.unwrap_or_default(),
            }
        } else if admitted.operation == Operation::CountTokens {
            Split::default()
        } else {
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).take(&admitted.model_id, ask, Instant::now())
        };
        let guarded = ask.guardrail.clone().map(|guardrail| Guarded {
            guardrail,
            input_characters: ask.characters(),
            output_characters: generation.characters(),
        });
        let cache_read = split.read.min(total);
        let cache_write_5m = split.write_5m.min(total - cache_read);
        let cache_write_1h = split.write_1h.min(total - cache_read - cache_write_5m);
        let usage = Usage {
            input: total - cache_read - cache_write_5m - cache_write_1h,
            output: generation.tokens(),
            cache_read,
            cache_write_5m,
            cache_write_1h,
            guardrail_text_units: guarded.as_ref().map_or(0, Guarded::units),
        };
        (usage, guarded)
    }
}

fn reported(play: &Play, usage: &Usage) -> Option<Usage> {
    let times = if play.cache_twice { 2 } else { 1 };
    (!play.without_usage).then_some(Usage {
        cache_write_5m: usage.cache_write_5m * times,
        cache_write_1h: usage.cache_write_1h * times,
        ..*usage
    })
}

/// The same for the same request.
fn seed(model: &str, body: &[u8]) -> u64 {
    let digest = Sha256::new_with_prefix(model).chain_update(body).finalize();
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

impl Call<'_> {
    async fn go(&self, served: &Served, mut head: Head, is_free: bool) -> Result<State, HungUp> {
        let Admitted { operation, family, play, streams, .. } = self.admitted;
        let late = match play.failure {
            Some(Failure::Late(kind)) => Some(kind),
            Some(Failure::Exception(kind)) if !streams => Some(kind),
            Some(Failure::Exception(_) | Failure::Refused(_) | Failure::Abort | Failure::Reset) | None => None,
        };
        let is_reset = play.failure == Some(Failure::Reset);
        if !is_free && (late.is_some() || is_reset || !streams) {
            self.service.books.used(self.number, &self.admitted.model, self.usage);
        }
        let is_held = !streams || play.pace == Some(Pace::Silent) || late.is_some() || is_reset;
        if is_held {
            self.hold(&mut head).await?;
        }
        if let Some(kind) = late {
            let fault = Fault { retry_after: play.retry_after, ..kind.into() };
            return self.refuse(&fault, head);
        }
        if is_reset {
            return head.send(None).map(|()| State::Aborted).map_err(|_gone| HungUp);
        }
        let mut headers = answer::headers(*operation, *family, served, *streams);
        headers.push(("x-amzn-requestid", self.request_id.to_owned()));
        if *streams {
            return match answer::frames(*operation, *family, served) {
                Ok(frames) => self.stream(frames, headers, head).await,
                Err(fault) => self.refuse(&fault, head),
            };
        }
        let body = Bytes::from(answer::body(*operation, *family, served).to_string());
        self.buffer(body, headers, head).await
    }

    /// Waits as the call is to go, or until its caller is gone.
    async fn hold(&self, head: &mut Head) -> Result<(), HungUp> {
        tokio::select! {
            () = self.wait() => Ok(()),
            () = head.closed() => Err(HungUp),
        }
    }

    async fn wait(&self) {
        match self.admitted.play.pace {
            None => pause(if self.admitted.streams { self.service.pause_ms } else { 0 }).await,
            Some(Pace::Paused(milliseconds)) => pause(milliseconds).await,
            // A closed gate lets everything go.
            Some(Pace::Stepped | Pace::Silent) => {
                if let Ok(permit) = self.gate.acquire().await {
                    permit.forget();
                }
            }
        }
    }

    fn refuse(&self, fault: &Fault, head: Head) -> Result<State, HungUp> {
        let is_chat = self.admitted.operation == Operation::ChatCompletions;
        self.send(head, error(fault, is_chat, self.request_id))?;
        Ok(State::Failed(fault.kind.name()))
    }

    fn send(&self, head: Head, response: Response) -> Result<(), HungUp> {
        head.send(Some(response)).map_err(|_gone| HungUp)
    }

    fn sent(&self) {
        self.service.books.change(self.number, |entry| entry.frames += 1);
    }

    /// In one piece; an abort breaks it in the middle.
    async fn buffer(&self, body: Bytes, mut headers: Vec<(&'static str, String)>, head: Head) -> Result<State, HungUp> {
        if self.admitted.play.failure != Some(Failure::Abort) {
            self.send(head, whole(200, headers, body))?;
            self.sent();
            return Ok(State::Served);
        }
        headers.push(("content-length", body.len().to_string()));
        let (parts, receiver) = mpsc::channel(2);
        self.send(head, Response::new(200, headers, receiver))?;
        put(&parts, Part::Data(body.slice(..body.len() / 2))).await?;
        put(&parts, Part::Abort).await?;
        Ok(State::Aborted)
    }

    /// Frame by frame, each in the books before it is sent.
    async fn stream(
        &self,
        frames: Vec<Frame>,
        headers: Vec<(&'static str, String)>,
        head: Head,
    ) -> Result<State, HungUp> {
        let (parts, receiver) = mpsc::channel(1);
        self.send(head, Response::new(200, headers, receiver))?;
        let play = &self.admitted.play;
        let breaks = matches!(play.failure, Some(Failure::Abort | Failure::Exception(_)));
        let last = if breaks { play.after.unwrap_or(FRAMES_BEFORE_BREAK).min(frames.len()) } else { frames.len() };
        for frame in frames.into_iter().take(last) {
            // The pace of a silent call is over with its head.
            if play.pace != Some(Pace::Silent) {
                tokio::select! {
                    () = self.wait() => {}
                    () = parts.closed() => return Err(HungUp),
                }
            }
            let usage = Usage { output: frame.output, ..self.usage };
            self.service.books.used(self.number, &self.admitted.model, usage);
            put(&parts, Part::Data(frame.bytes)).await?;
            self.sent();
        }
        match play.failure {
            Some(Failure::Abort) => put(&parts, Part::Abort).await.map(|()| State::Aborted),
            Some(Failure::Exception(kind)) => self.except(kind, &parts).await,
            Some(Failure::Refused(_) | Failure::Late(_) | Failure::Reset) | None => Ok(State::Served),
        }
    }

    async fn except(&self, kind: Kind, parts: &mpsc::Sender<Part>) -> Result<State, HungUp> {
        match answer::exception(self.admitted.operation, kind) {
            Ok(bytes) => put(parts, Part::Data(bytes)).await?,
            Err(_fault) => put(parts, Part::Abort).await?,
        }
        Ok(State::Failed(kind.name()))
    }
}

async fn put(parts: &mpsc::Sender<Part>, part: Part) -> Result<(), HungUp> {
    parts.send(part).await.map_err(|_gone| HungUp)
}

async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}
