//! Operators and owners change their minds: limits, where callbacks may go, and what runs may be made of.

use super::*;
use sluice_core::operator::{TenantSettings, Tenants};

impl World {
    pub(super) fn change_limits(&mut self) {
        let caller = self.some_caller();
        self.dice.count(F::LimitMoved);
        let (store, clock) = (self.some_process(), self.instance_clock());
        let concurrency = seed::limit(&mut self.rng);
        if self.rng.bool() {
            let id = definitions()[self.rng.usize(0..3)];
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

    /// A version is deprecated or activated; a node or a processor is withdrawn from the tenants, or given back.
    pub(super) fn change_catalog(&mut self) {
        if !self.dice.is_armed() {
            return;
        }
        self.dice.count(F::CatalogChanged);
        let caller = self.some_caller();
        let (store, clock) = (self.some_process(), self.instance_clock());
        let at = DefinitionRef::Id(definitions()[self.rng.usize(0..3)]);
        let number = self.rng.u32(1..3);
        let operator = Caller { is_operator: true, ..caller.clone() };
        let tenants = match self.rng.u32(0..3) {
            0 => fixture::only("other"),
            _ => Tenants::everyone(),
        };
        let choice = self.rng.u32(0..5);
        let mut node = fixture::compute_node(self.clock.true_time());
        if self.rng.bool() {
            let [_, _, third] = definitions();
            (node.key, node.state_machine_arn) = (compute_node_of(third), fixture::second_runner_arn());
        }
        let what = format!("catalog {choice}: version {number} of {at} of {}, {tenants:?}", caller.tenant);
        self.spawn(TaskKind::Other, None, what, async move {
            let now = clock.now();
            let _whether_it_worked = match choice {
                0 => deprecate_version(&store, &caller, &at, number, now).await.map(|_| ()),
                1 | 2 => activate_version(&store, &caller, &at, number, now).await.map(|_| ()),
                3 => {
                    node.tenants = tenants;
                    node.updated_at = now;
                    save_compute_node(&store, &operator, node, None).await.map(|_| ())
                }
                _ => {
                    let mut processor = fixture::processors(now).remove(0);
                    processor.tenants = tenants;
                    save_processor(&store, &operator, processor).await.map(|_| ())
                }
            };
            Told::Nothing
        });
    }
}
