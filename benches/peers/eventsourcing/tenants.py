"""The tenant as the library's tutorial writes an aggregate and its application."""

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Tenant(Aggregate):
    @event("Provisioned")
    def __init__(self, name, slug, domain, plan, region, trial_ends_at, owner, owner_email, metadata):
        self.name = name
        self.slug = slug
        self.domain = domain
        self.plan = plan
        self.region = region
        self.trial_ends_at = trial_ends_at
        self.owner = owner
        self.owner_email = owner_email
        self.flags = {}

    def set_flag(self, key, value, metadata):
        """Repeating a command yields no event."""
        if self.flags.get(key) != value:
            self._set_flag(key, value, metadata)

    @event("FlagSet")
    def _set_flag(self, key, value, metadata):
        self.flags[key] = value


class Tenants(Application):
    def provision(self, **facts):
        tenant = Tenant(**facts)
        self.save(tenant)
        return tenant.id

    def set_flag(self, tenant_id, key, value, metadata):
        """Loads all events of the tenant, decides, appends at the version it saw. `IntegrityError`: it lost a race."""
        tenant = self.repository.get(tenant_id)
        tenant.set_flag(key, value, metadata)
        self.save(tenant)
