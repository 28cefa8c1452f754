// Original file: broker/proto/lastmile/v1/admin.proto

import type { Long } from '@grpc/proto-loader';

export interface TokenStatus {
  'name'?: (string);
  'serial'?: (string);
  'label'?: (string);
  'model'?: (string);
  'firmware'?: (string);
  'state'?: (string);
  'advice'?: (string);
  'software'?: (boolean);
  'sessionsLimit'?: (number);
  'sessionsInUse'?: (number);
  'inFlight'?: (number);
  'keys'?: (string)[];
  'unusableKeys'?: (string)[];
  'restarts'?: (number);
  'workerPid'?: (number);
  'serviceMicros'?: (number | string | Long);
  'circuit'?: (string);
  'errors'?: ({[key: string]: number | string | Long});
  'pinCountLow'?: (boolean);
  'pinFinalTry'?: (boolean);
  'pinLocked'?: (boolean);
}

export interface TokenStatus__Output {
  'name': (string);
  'serial': (string);
  'label': (string);
  'model': (string);
  'firmware': (string);
  'state': (string);
  'advice': (string);
  'software': (boolean);
  'sessionsLimit': (number);
  'sessionsInUse': (number);
  'inFlight': (number);
  'keys': (string)[];
  'unusableKeys': (string)[];
  'restarts': (number);
  'workerPid': (number);
  'serviceMicros': (number);
  'circuit': (string);
  'errors': ({[key: string]: number});
  'pinCountLow': (boolean);
  'pinFinalTry': (boolean);
  'pinLocked': (boolean);
}
