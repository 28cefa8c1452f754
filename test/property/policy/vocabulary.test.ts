import { expect, it } from 'vitest';
import { METHODS } from '../../../broker/proto/methods.ts';
import { ALGORITHMS } from '../../../hsm-adapters/adapter.ts';
import { POLICY_ALGORITHMS, ROLE_METHODS } from '../../../policy/vocabulary.ts';

it('lets roles name exactly the methods of Admin and Audit that the broker serves, and what operators do to approvals', () => {
  const served = METHODS.filter(({ service }) => service === 'Admin' || service === 'Audit').map(
    ({ service, name }) => `${service}.${name}`,
  );
  expect(ROLE_METHODS.toSorted()).toEqual([...served, 'Approvals.AcceptState'].toSorted());
});

it('knows exactly the algorithms that the adapters know', () => {
  expect(POLICY_ALGORITHMS).toEqual(ALGORITHMS);
});
