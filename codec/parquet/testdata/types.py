# Writes testdata/types.parquet; run by hand with pyarrow 26.
import pyarrow as pa, pyarrow.parquet as pq, datetime as dt, decimal, uuid, sys
D=decimal.Decimal
rows=[
 dict(i=1,u=2**64-1,u32=2**32-1,b=True,f=0.1,d=1e300,s='é"\n',raw=b'\xff\x00',dec=D('-0.05'),big=D('12345678901234567890.123'),day=dt.date(1969,12,31),
      ms=dt.datetime(2026,1,2,3,4,5,678000),us=dt.datetime(1960,1,2,3,4,5,6,tzinfo=dt.timezone.utc),clock=dt.time(1,2,3,500000),
      strs=['a',None,''],nested=[[1,2],[],None,[3]],rec=dict(x=1,y=dict(z=['q'])),recs=[dict(a=1,b=None),dict(a=None,b=[True,False])],
      m={'k':1,'l':None}.items(),im=[(7,[1])],fixed=b'ab',dictv='red',vec=[0.25,-1e-9]),
 dict(),
 dict(i=-2**63,f=float('nan'),d=float('-inf'),strs=[],nested=[],recs=[],m=[],im=[],rec=dict(x=None,y=None),dictv='blue',vec=[1.0,2.0],b=False),
]
schema=pa.schema([('i',pa.int64()),('u',pa.uint64()),('u32',pa.uint32()),('b',pa.bool_()),('f',pa.float32()),('d',pa.float64()),('s',pa.string()),('raw',pa.binary()),
 ('dec',pa.decimal128(9,2)),('big',pa.decimal128(38,3)),('day',pa.date32()),('ms',pa.timestamp('ms')),('us',pa.timestamp('us',tz='UTC')),('clock',pa.time64('us')),
 ('strs',pa.list_(pa.string())),('nested',pa.list_(pa.list_(pa.int32()))),('rec',pa.struct([('x',pa.int8()),('y',pa.struct([('z',pa.list_(pa.string()))]))])),
 ('recs',pa.list_(pa.struct([('a',pa.int32()),('b',pa.list_(pa.bool_()))]))),('m',pa.map_(pa.string(),pa.int32())),('im',pa.map_(pa.int32(),pa.list_(pa.int32()))),
 ('fixed',pa.binary(2)),('dictv',pa.dictionary(pa.int8(),pa.string())),('vec',pa.list_(pa.float32(),2))])
def col(f):
    v=[r.get(f.name) for r in rows]
    if f.name in('m','im'): v=[None if x is None else list(x) for x in v]
    return pa.array(v,type=f.type)
t=pa.table([col(f) for f in schema],schema=schema)
pq.write_table(t,sys.argv[1]+'/types.parquet',row_group_size=2,compression='snappy')
t2=pa.table({'at':pa.array([dt.datetime(2026,1,2,3,4,5,6),None,dt.datetime(1969,12,31,23,59,59)],type=pa.timestamp('ns')),'l':pa.array([[1,2],[],None])})
pq.write_table(t2,sys.argv[1]+'/old.parquet',use_deprecated_int96_timestamps=True,version='1.0',compression='gzip',use_compliant_nested_type=False,data_page_version='2.0')
