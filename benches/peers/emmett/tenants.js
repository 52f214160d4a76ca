// The tenant as the library's guide writes an aggregate: a state, an evolve, decisions, and a command handler.

import { CommandHandler, IllegalStateError } from '@event-driven-io/emmett';

const initialState = () => ({ status: 'Absent' });

const evolve = (state, { type, data }) => {
  switch (type) {
    case 'TenantProvisioned':
      return { ...data, status: 'Active', flags: {} };
    case 'FlagSet':
      return { ...state, flags: { ...state.flags, [data.key]: data.value } };
    default:
      return state;
  }
};

export const provision = (facts, metadata) => (state) => {
  if (state.status !== 'Absent') throw new IllegalStateError('the tenant exists');
  return { type: 'TenantProvisioned', data: facts, metadata };
};

// Repeating a command yields no event.
export const setFlag = (key, value, metadata) => (state) => {
  if (state.status !== 'Active') throw new IllegalStateError('there is no such tenant');
  const current = state.flags[key];
  if (current?.type === value.type && current.value === value.value) return [];
  return { type: 'FlagSet', data: { key, value }, metadata };
};

// Loads all events of the tenant, decides, and appends at the version it saw. It repeats nothing by itself, because
// the library waits 100 ms before it does; the loop repeats at once.
export const handle = CommandHandler({ evolve, initialState, mapToStreamId: (id) => `tenant-${id}` });
