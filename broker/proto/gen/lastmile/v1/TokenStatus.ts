// Original file: broker/proto/lastmile/v1/admin.proto


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
}
