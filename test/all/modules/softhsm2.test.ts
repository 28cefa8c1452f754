import { softhsm2 } from '../../../hsm-adapters/profiles/softhsm2.ts';
import { describeAdapter } from '../../conformance/adapters/describe-adapter.ts';
import { startSoftHsm } from './soft-hsm-module.ts';

describeAdapter({
  profile: softhsm2,
  tokens: 2,
  takesKnownKeys: true,
  start: async () => startSoftHsm(),
});
