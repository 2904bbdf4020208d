//! Operators and owners change their minds: limits, and where callbacks may go.

use super::*;
use sluice_core::operator::TenantSettings;

impl World {
    pub(super) fn change_limits(&mut self) {
        let caller = self.some_caller();
        self.dice.count(F::LimitMoved);
        let (store, clock) = (self.store.clone(), self.instance_clock());
        let concurrency = seed::limit(&mut self.rng);
        if self.rng.bool() {
            let id = definitions()[self.rng.usize(0..2)];
            let what = format!("limit {id} of {} to {concurrency:?}", caller.tenant);
            self.spawn(TaskKind::Other, None, what, async move {
                let said = DefinitionChange { concurrency: Some(concurrency), ..DefinitionChange::default() };
                let _whether_it_worked =
                    change_definition(&store, &caller, &DefinitionRef::Id(id), said, clock.now()).await;
                Told::Nothing
            });
            return;
        }
        let retention = (self.rng.u32(0..4) == 0).then(|| seed::rule(&mut self.rng));
        let destinations = (self.dice.is_armed() && self.rng.u32(0..2) == 0).then(|| {
            self.dice.count(F::ListChanged);
            RECEIVERS.iter().filter(|_| self.rng.u32(0..3) > 0).map(|url| origin(url)).collect()
        });
        let settings =
            TenantSettings { concurrency, retention, destinations, ..TenantSettings::open(caller.tenant.clone()) };
        let operator = Caller { is_operator: true, ..caller };
        self.spawn(TaskKind::Other, None, format!("settings {settings:?}"), async move {
            let allowed = fixture::policy().destinations;
            let _whether_it_worked = save_tenant(&store, &operator, &allowed, settings).await;
            Told::Nothing
        });
    }
}
