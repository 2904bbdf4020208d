//! Who calls: a grant in the path, and a processor's key or a worker's report token.

use crate::caller::Caller;
use crate::{App, not_stored};
use sluice_core::governor::access::{GrantPath, Holder, KeyText, Pass};
use sluice_core::governor::ledger::Standing;
use sluice_core::governor::model::Model;
use sluice_core::governor::model_id::ModelId;
use sluice_core::id::ProcessorKey;
use sluice_core::ports::{Clock, FindModel, ReadLedgers, RecordReports, RunRef};
use sluice_core::report::TokenText;
use sluice_edge::bedrock::event::Arrived;
use sluice_edge::bedrock::refused::Refused;
use std::sync::Arc;

impl<S, E, C> App<S, E, C>
where
    S: ReadLedgers + FindModel + RecordReports,
    C: Clock,
{
    /// Both halves. Whether they fit, the ledger says.
    pub(crate) async fn admit(&self, arrived: &Arrived) -> Result<Caller, Refused> {
        let not_admitted = |_| Refused::not_admitted();
        let (path, _) = arrived.grant().map_err(not_admitted)?;
        let bearer = arrived.bearer().ok_or_else(Refused::not_admitted)?;
        let holder = match TokenText::read(bearer) {
            Some((text, tenant)) if tenant == path.tenant => self.worker(&path, &text).await?,
            Some(_) => return Err(Refused::not_admitted()),
            None => {
                let (text, processor) = KeyText::read(bearer).map_err(not_admitted)?;
                self.processor(&text, processor).await?
            }
        };
        let GrantPath { tenant, run_id, grant, node_id, attempt } = path;
        let run = RunRef { tenant_id: tenant, run_id };
        Ok(Caller { run, pass: Pass { grant, holder, node_id }, attempt })
    }

    async fn worker(&self, path: &GrantPath, text: &TokenText) -> Result<Holder, Refused> {
        let hash = text.hash();
        let token = self.store.load_report_token(&path.tenant, path.run_id, &hash).await.map_err(not_stored)?;
        let now = self.clock.now();
        let token = token.filter(|token| token.hash == hash && token.expires_at > now);
        let is_good = token.is_some_and(|token| token.node_id.is_none_or(|only| only == path.node_id));
        if is_good { Ok(Holder::Worker) } else { Err(Refused::not_admitted()) }
    }

    /// By what is remembered of its keys; or by a fresh read, where that lets nobody in: a key opens as soon as it is made.
    async fn processor(&self, text: &KeyText, processor: ProcessorKey) -> Result<Holder, Refused> {
        let now = self.clock.now();
        let is_known = self.known.keys(&processor, now).is_some_and(|keys| keys.admits(text));
        if !is_known {
            let keys = self.store.load_keys(&processor).await.map_err(not_stored)?;
            if !keys.admits(text) {
                return Err(Refused::not_admitted());
            }
            self.known.keep_keys(&processor, keys, now);
        }
        Ok(Holder::Processor(processor))
    }

    /// The ledger's word on both halves, where no reserve asks for it.
    pub(crate) async fn is_admitted(&self, caller: &Caller) -> Result<(), Refused> {
        let ledger = self.store.load_ledger(&caller.run).await.map_err(not_stored)?;
        let ledger = ledger.filter(|ledger| ledger.admits(&caller.pass)).ok_or_else(Refused::not_admitted)?;
        match ledger.standing {
            Standing::Open => Ok(()),
            Standing::Exhausted => Err(Refused::exhausted()),
            Standing::Closed => Err(Refused::not_admitted()),
        }
    }

    /// The model, if it is declared for the caller's tenant. What is not declared is not remembered: it may be soon.
    pub(crate) async fn model(&self, id: &ModelId, caller: &Caller) -> Result<Arc<Model>, Refused> {
        let now = self.clock.now();
        let model = match self.known.model(id, now) {
            Some(model) => model,
            None => {
                let found = self.store.find_model(id).await.map_err(not_stored)?;
                let model = found.ok_or_else(Refused::unknown_model)?;
                self.known.keep_model(id, &model, now);
                model
            }
        };
        if model.tenants.admits(&caller.run.tenant_id) { Ok(model) } else { Err(Refused::unknown_model()) }
    }
}
