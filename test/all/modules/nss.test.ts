import { nss } from '../../../hsm-adapters/profiles/nss.ts';
import { describeAdapter } from '../../conformance/adapters/describe-adapter.ts';
import { startNss } from './nss-module.ts';

describeAdapter({ profile: nss, tokens: 2, takesKnownKeys: true, start: async () => startNss() });
