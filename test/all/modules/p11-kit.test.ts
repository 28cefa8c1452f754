import { p11Kit } from '../../../hsm-adapters/profiles/p11-kit.ts';
import { describeAdapter } from '../../conformance/adapters/describe-adapter.ts';
import { startP11Kit } from './p11-kit-module.ts';

describeAdapter({ profile: p11Kit, tokens: 2, takesKnownKeys: true, start: startP11Kit });
